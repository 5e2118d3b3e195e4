"""Queries whose prompt is not that of their picture, labelled by the teacher on the reference generator.

`python -m tests.benchmarks.wrong_prompts` makes `wrong-prompt-labels` (resumable: about 20 minutes of
one core for the works' gradients in each of two spaces, then two seconds a query); `fast_form` reads them.
Held out are works as pictures with the prompt of a held-out query of `reference-labels`: a picture that was
trained on, which the teacher may find in spite of the words. Learnt from are other works with prompts of
training queries, and pictures of training queries with another query's prompt or with none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import HELD_OUT, TRAIN, LabelSet, png, read_labels
from creditline.distillation.labels.labelling import LabelJob, label_queries
from creditline.distillation.labels.queries import PlannedQuery
from creditline.distillation.labels.teachers import method_teacher
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from tests.benchmarks.reference_parts import generator_directory, parts_arguments

REFERENCE_LABELS = Path(__file__).resolve().parent / "reference-labels"
WRONG_LABELS = REFERENCE_LABELS.with_name("wrong-prompt-labels")
SEED = 29
JUDGED = 60
"""Number of works with a wrong prompt that are held out."""
_TRAINING_WORKS, _SWAPPED, _WORDLESS = 96, 96, 24
_FIRST_SEED = 9_100_000
_GUIDANCE = 0.0
_QUERIES_PER_PART = 12


@dataclass(frozen=True)
class Pair:
    """A picture with a prompt that is not its own."""

    picture: bytes
    """The picture as PNG."""
    prompt: str
    """The prompt."""
    split: str
    """"train" or "heldout"."""
    work: int | None = None
    """Row of the work whose picture it is; None: a generated picture."""


def pairs(labels: LabelSet, corpus: Corpus) -> list[Pair]:
    """The queries, held-out ones first, the kinds of training queries in turn."""
    random = np.random.default_rng(SEED)
    works = random.permutation(len(corpus))
    held_out, training = (_prompts(labels, split, random) for split in (HELD_OUT, TRAIN))

    def of_works(rows: NDArray[np.intp], prompts: Iterator[str], split: str) -> Iterator[Pair]:
        for row in rows:
            work = corpus.works[int(row)]
            prompt = next(prompt for prompt in prompts if prompt.casefold() != work.caption.casefold())
            yield Pair(png([work.picture().convert("RGB")])[0], prompt, split, int(row))

    pictures = [labels.queries[int(row)] for row in random.permutation(labels.rows(TRAIN))]
    judged = list(of_works(works[:JUDGED], held_out, HELD_OUT))
    strange = list(of_works(works[JUDGED : JUDGED + _TRAINING_WORKS], training, TRAIN))
    swapped = [
        Pair(query.picture, next(prompt for prompt in training if prompt != query.prompt), TRAIN)
        for query in pictures[:_SWAPPED]
    ]
    wordless = [Pair(query.picture, "", TRAIN) for query in pictures[_SWAPPED : _SWAPPED + _WORDLESS]]
    third = len(wordless)
    in_turn = [
        (strange[4 * place : 4 * place + 4], swapped[4 * place : 4 * place + 4], wordless[place : place + 1])
        for place in range(third)
    ]
    return [*judged, *chain.from_iterable(chain.from_iterable(in_turn))]


def _prompts(labels: LabelSet, split: str, random: np.random.Generator) -> Iterator[str]:
    """Prompts of a split's queries, in random order."""
    rows = random.permutation(labels.rows(split))
    return iter([labels.queries[int(row)].prompt for row in rows])


def judged_works(listed: list[Pair]) -> NDArray[np.intp]:
    """Rows of the works whose pictures are held out, in the order of the queries: (H,)."""
    rows = [pair.work for pair in listed if pair.split == HELD_OUT and pair.work is not None]
    return np.array(rows, dtype=np.intp)


def found_in_first(scores: NDArray[np.floating], own: NDArray[np.intp], depth: int) -> NDArray[np.float64]:
    """Whether each query's own work is among its first works: (H, N) scores and (H,) rows -> (H,) 0 or 1."""
    first = np.argsort(-scores, axis=1)[:, :depth]
    found: NDArray[np.float64] = (first == own[:, None]).any(axis=1).astype(np.float64)
    return found


def planned(listed: list[Pair]) -> tuple[PlannedQuery, ...]:
    """The pairs as planned queries; nothing is sampled for them."""
    return tuple(
        PlannedQuery(pair.prompt, _FIRST_SEED + number, pair.split, _GUIDANCE)
        for number, pair in enumerate(listed)
    )


def main() -> None:
    parser = parts_arguments(__doc__)
    parser.add_argument("--count", type=int, default=None, help="label only so many, the first ones")
    parser.add_argument("--method", default=None, help="the teacher; by default that of reference-labels")
    parser.add_argument("--output", type=Path, default=WRONG_LABELS)
    given = parser.parse_args()
    corpus, labels = reference_corpus(), read_labels(REFERENCE_LABELS)
    listed = list(islice(pairs(labels, corpus), given.count))
    print(f"{len(listed)} queries, {sum(pair.split == HELD_OUT for pair in listed)} held out", flush=True)
    with Generator.open(generator_directory(given.generator)) as generator:
        job = LabelJob(
            method_teacher(given.method or labels.teacher, generator, corpus, given.artifacts),
            corpus,
            corpus.subset((), name="none"),
            planned(listed),
            pictures=tuple(pair.picture for pair in listed),
            queries_per_part=_QUERIES_PER_PART,
        )
        label_queries(job, given.output, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
