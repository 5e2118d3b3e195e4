"""The text member of label sets: taken out of labels of a consensus, and put back for comparison.

`python -m tests.benchmarks.label_members` takes it out of the label sets that were made with it, and checks
the same subtraction on the lab's queries, where the scores of all members are kept one by one.

A consensus is a weighted sum of its members' scores, each standardised over the works, so a member that can
be computed again can be subtracted. The text member is a function of prompts and captions alone. What is left
is the consensus of the others with the weights that they had, up to the rounding of float32.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.consensus import standardised
from creditline.attribution.methods.hyperparameters import CONSENSUSES, SHARPNESS
from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import TRAIN, LabelSet, read_labels, write_labels
from creditline.distillation.training.feature_store import FeatureStore
from creditline.evaluation.lab.judging.scoring import read_scores
from creditline.evaluation.lab.judging.weighting import joined
from creditline.evaluation.lab.plan import draw_works
from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.setting import REFERENCE
from creditline.generator.reference import reference_corpus
from creditline.towers.towers import Towers
from tests.benchmarks.distillation import FEATURES, lab_queries

TEXT = "text-sharpened"
WITH_TEXT = "-with-text"
_LABELS = Path(__file__).resolve().parent
# SHA-256 of the influence in label sets that were made with the text member.
_MADE_WITH_TEXT = {
    "reference-labels": "65280c492df046200b00fad0aafcd59c35523db92269f65b968b52e476f4a6e3",
    "transfer-labels": "5ceef1bbae4969ff6504bc19a22b83a34d9ef2053aca1ba21d926b9fe25de8aa",
    "lab-labels": "d80fa65bfede13b90ce63c4fc2772b8eafc6d99aead6193409ed37f72f43f6ed",
}


def text_member(
    teacher: str, queries: NDArray[np.float32], works: NDArray[np.float32]
) -> NDArray[np.float64]:
    """What the text member adds to a consensus: (Q, N) float64.

    Args:
        teacher: Name of the consensus without it.
        queries: (Q, T) float32, L2-normalised text features of the prompts.
        works: (N, T) float32, L2-normalised text features of the captions.
    """
    weight = CONSENSUSES[teacher + WITH_TEXT][TEXT]
    cosines = np.array([works @ row for row in queries], dtype=np.float64)
    return weight * standardised(np.sign(cosines) * np.abs(cosines) ** SHARPNESS)


def shifted(labels: LabelSet, store: FeatureStore, works: Corpus, sign: float) -> LabelSet:
    """Labels plus `sign` times the text member; its noise is none, so repeated labels shift alike."""
    text = store.towers.parts.slices()["text"]
    member = sign * text_member(
        labels.teacher, store.queries(labels.queries)[:, text], store.works(works)[:, text]
    )
    evaluation = [row for row, query in enumerate(labels.queries) if query.split != TRAIN]
    repeat = labels.influence_repeat
    return replace(
        labels,
        influence=(labels.influence + member).astype(np.float32),
        influence_repeat=None if repeat is None else (repeat + member[evaluation]).astype(np.float32),
    )


def with_text(labels: LabelSet, store: FeatureStore, works: Corpus) -> LabelSet:
    """The labels as they were with the text member, under the name of that consensus."""
    return replace(shifted(labels, store, works, 1.0), teacher=labels.teacher + WITH_TEXT)


def works_of(labels: LabelSet) -> Corpus:
    """The works of a committed label set: those of the reference generator or of the lab."""
    reference = reference_corpus()
    if labels.corpus_fingerprint == reference.fingerprint:
        return reference
    return draw_works(reference, read_record(REFERENCE / "record.safetensors").plan)[0]


def largest_error(teacher: str, store: FeatureStore) -> float:
    """Largest difference between both ways to the consensus without the text member on the lab's queries.

    One way is the sum of the members' kept scores, the other is the sum with the text member, as float32,
    less the text member from the towers: in units in which a consensus has a standard deviation of about 2.
    """
    record = read_record(REFERENCE / "record.safetensors")
    works, _ = draw_works(reference_corpus(), record.plan)
    rows = [int(row) for row in record.query_rows("generated")]
    sums = []
    for name in (teacher, teacher + WITH_TEXT):
        members = [
            read_scores(REFERENCE / "scores" / f"{member}.safetensors", record)
            for member in CONSENSUSES[name]
        ]
        sums.append(joined(name, members, tuple(CONSENSUSES[name].values())).of_rows(rows))
    text = store.towers.parts.slices()["text"]
    queries, features = store.queries(lab_queries(record)), store.works(works)
    subtracted = sums[1] - text_member(teacher, queries[:, text], features[:, text])
    return float(np.abs(subtracted - sums[0]).max())


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    store = FeatureStore(Towers.open(), FEATURES, print)
    for teacher in ("consensus-gradients", "consensus-gradients-attn"):
        print(f"{teacher}: largest error of the subtraction {largest_error(teacher, store):.2g}", flush=True)
    for name, digest in _MADE_WITH_TEXT.items():
        directory = _LABELS / name
        files = json.loads((directory / "label-set.json").read_text())["files"]
        if files["influence.npy"] != digest:
            print(f"{name}: not as it was made with the text member, left alone")
            continue
        labels = read_labels(directory)
        write_labels(shifted(labels, store, works_of(labels), -1.0), directory)
        print(f"{name}: the text member is taken out of {len(labels.queries)} queries")


if __name__ == "__main__":
    main()
