"""The first stages of a run: queries with their pictures → candidates → labels, in one round or in two.

In a second round a student that learnt from the first round's labels names works that raw features missed.
Label sets that are there already take the place of all of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.distillation.labels.candidates import add_by_student, draw_candidates
from creditline.distillation.labels.checks import refuse_other_generator, refuse_unusable
from creditline.distillation.labels.label_set import (
    TRAIN,
    TRANSFER,
    LabelledQuery,
    join_labels,
    read_labels,
    write_labels,
)
from creditline.distillation.labels.labelling import LabelJob, Shard, count_parts, label_queries, label_shard
from creditline.distillation.labels.queries import (
    PlannedQuery,
    farthest_prompts,
    plan_listed,
    plan_more,
    plan_queries,
    read_prompts,
)
from creditline.distillation.labels.query_pictures import make_pictures, read_pictures
from creditline.distillation.run_context import RunContext
from creditline.distillation.stages import Finished, Stages
from creditline.distillation.training.examples import training_examples
from creditline.distillation.training.fitting import encoder_scores, train_encoder
from creditline.encoder.encoder import Encoder
from creditline.errors import InvalidInput
from creditline.generator.pipeline import Generator, generator_fingerprint
from creditline.release import ENCODER

_PLANNED, _INCLUSION = "planned.json", "inclusion.npy"
FIRST, SECOND = 1, 2


@dataclass(frozen=True)
class _Round:
    """What a round of labels starts from. known: the labels of the round before, None in the first."""

    queries: Finished
    candidates: Finished
    known: Finished | None


class LabelStages:
    """Makes them, or finds them in the directory of the run."""

    def __init__(self, context: RunContext) -> None:
        self._of = context
        self._config = context.config

    @property
    def rounds(self) -> int:
        """1, or 2 where a student names candidates too."""
        candidates = self._config.candidates
        return SECOND if candidates is not None and candidates.by_student else FIRST

    @property
    def count(self) -> int:
        """How many stages there are up to the labels."""
        return 3 if self.rounds == FIRST else 6

    def labels(self, stages: Stages) -> Finished:
        """The labels of the last round. Raises what the stages raise."""
        if self._config.labels:
            return stages.run("labels", self._given_inputs(), self._take_given)
        found = self._round(stages, self.rounds)
        return stages.run("labels", self._label_inputs(found), self._label(found))

    def planned_parts(self, stages: Stages, number: int) -> int:
        """How many parts a round of labels is made in; makes what it starts from."""
        self._refuse_given()
        return count_parts(len(_planned(self._round(stages, number).queries)))

    def label_shard(self, stages: Stages, shard: Shard, number: int) -> None:
        """Label one shard's parts of a round, on this machine or another that sees the same directory."""
        self._refuse_given()
        found = self._round(stages, number)
        with self._of.open_generator() as generator:
            label_shard(self._job(found, generator), self._parts(found), shard, self._of.report)

    def _refuse_given(self) -> None:
        if self._config.labels:
            raise InvalidInput("the labels are there already; run without shards", field="labels")

    def _round(self, stages: Stages, number: int) -> _Round:
        if not FIRST <= number <= self.rounds:
            raise InvalidInput(
                f"there is no round {number} of labels; this configuration has {self.rounds}", field="round"
            )
        queries = stages.run("queries", self._query_inputs(), self._make_queries)
        drawn = {"queries": queries.fingerprint, **self._candidate_inputs()}
        if self.rounds == FIRST:
            return _Round(queries, stages.run("candidates", drawn, self._draw(queries)), None)
        first = _Round(queries, stages.run("first-candidates", drawn, self._draw(queries)), None)
        if number == FIRST:
            return first
        labels = stages.run("first-labels", self._label_inputs(first), self._label(first))
        learnt = {"labels": labels.fingerprint, "towers": self._of.store.towers.fingerprint}
        plan = {"plan": repr(self._config.plan()), "seed": self._config.seed}
        student = stages.run("first-student", {**learnt, **plan}, self._train(labels))
        more = {"first": first.candidates.fingerprint, "student": student.fingerprint, **drawn}
        return _Round(
            queries, stages.run("candidates", more, self._draw_more(first, labels, student)), labels
        )

    def _query_inputs(self) -> dict[str, object]:
        listed = (self._config.queries.listed, self._config.queries.transfer)
        return {
            "corpus": self._of.corpus.fingerprint,
            "generator": generator_fingerprint(self._of.generator_directory),
            "queries": self._config.queries.model_dump(exclude={"listed", "transfer"}),
            "prompts": [read_prompts(path) if path else [] for path in listed],
            "seed": self._config.seed,
        }

    def _make_queries(self, directory: Path) -> None:
        planned = self._plan()
        rows = [dataclasses.asdict(query) for query in planned]
        (directory / _PLANNED).write_text(json.dumps(rows, indent=1) + "\n")
        with self._of.open_generator() as generator:
            make_pictures(generator, planned, directory, self._of.report)

    def _plan(self) -> list[PlannedQuery]:
        """Those that judge come first and share no prompt with those that teach."""
        corpus, asked, seed = self._of.corpus, self._config.queries, 4 * self._config.seed
        mixed, guidances = asked.mixed_fraction, asked.guidances
        judging = plan_queries(
            corpus, training=0, held_out=asked.held_out, mixed_fraction=mixed, seed=seed + 1
        )
        if asked.transfer:
            prompts = self._farthest(read_prompts(asked.transfer), asked.transfer_count)
            judging += plan_listed(prompts, split=TRANSFER, guidances=guidances, seed=seed + 3)
        spared = [query.prompt for query in judging]
        listed = self._listed(spared)
        teaching = plan_more(
            corpus,
            count=asked.training - len(listed),
            mixed_fraction=mixed,
            guidances=guidances,
            spared=spared,
            seed=seed + 2,
        )
        return [
            *judging,
            *teaching,
            *plan_listed(listed, split=TRAIN, guidances=guidances, seed=seed + 4),
        ]

    def _listed(self, spared: list[str]) -> list[str]:
        """Prompts of the list that teach: none of them judges."""
        asked = self._config.queries
        if asked.listed is None:
            return []
        judging = {prompt.casefold() for prompt in spared}
        free = [prompt for prompt in read_prompts(asked.listed) if prompt.casefold() not in judging]
        wanted = round(asked.listed_fraction * asked.training)
        if len(free) < wanted:
            raise InvalidInput(
                f"{asked.listed} has {len(free)} prompts to teach by, {wanted} were asked for; write more, or"
                " lower queries.listed_fraction",
                field="queries.listed",
            )
        return free[:wanted]

    def _farthest(self, prompts: list[str], count: int) -> list[str]:
        towers = self._of.store.towers
        of_prompts, of_captions = (
            _of_length_one(towers.text_features(texts).cpu().numpy())
            for texts in (prompts, [work.caption for work in self._of.corpus])
        )
        return farthest_prompts(prompts, of_prompts, of_captions, count)

    def _candidate_inputs(self) -> dict[str, object]:
        candidates = self._config.candidates
        if candidates is None:
            return {"candidates": "all works"}
        return {"candidates": candidates.model_dump(), "towers": self._of.store.towers.fingerprint}

    def _draw(self, queries: Finished) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            if self._config.candidates is None:
                return
            planned, teaching = _planned(queries), _teaching(queries)
            store = self._of.store
            features = store.queries(_pictured(queries))[teaching]
            cosines = features @ store.works(self._of.corpus).T
            seeds = [planned[row].seed for row in teaching]
            inclusion = np.ones((len(planned), len(self._of.corpus)), dtype=np.float32)
            inclusion[teaching] = draw_candidates(cosines, self._config.candidates.plan(), seeds)
            np.save(directory / _INCLUSION, inclusion)

        return make

    def _draw_more(self, first: _Round, labels: Finished, student: Finished) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            assert self._config.candidates is not None
            inclusion, teaching = _inclusion(first.candidates), _teaching(first.queries)
            assert inclusion is not None
            examples = training_examples(read_labels(labels.directory), self._of.corpus, self._of.store)
            encoder = Encoder.load(student.directory / ENCODER)
            cosines = encoder_scores(encoder, examples.queries, examples.works)
            by_student = self._config.candidates.by_student
            inclusion[teaching] = add_by_student(inclusion[teaching], cosines, by_student)
            np.save(directory / _INCLUSION, inclusion)

        return make

    def _train(self, labels: Finished) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            examples = training_examples(read_labels(labels.directory), self._of.corpus, self._of.store)
            plan, seed = self._config.plan(), self._config.seed
            trained = train_encoder(
                examples, [plan], seed=seed, device=self._of.device, report=self._of.report
            )
            trained.encoder.save(directory / ENCODER)

        return make

    def _given_inputs(self) -> dict[str, object]:
        return {"labels": [_manifest(directory) for directory in self._config.labels]}

    def _take_given(self, directory: Path) -> None:
        labels = join_labels([read_labels(given) for given in self._config.labels])
        if self._config.generator is not None:
            refuse_other_generator(labels, generator_fingerprint(self._config.generator))
        refuse_unusable(labels, self._of.corpus)
        write_labels(labels, directory)

    def _label_inputs(self, found: _Round) -> dict[str, object]:
        return {
            "queries": found.queries.fingerprint,
            "candidates": found.candidates.fingerprint,
            "known": found.known.fingerprint if found.known else "",
            "generator": generator_fingerprint(self._of.generator_directory),
            "corpus": self._of.corpus.fingerprint,
            "teacher": self._config.teacher,
        }

    def _label(self, found: _Round) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            with self._of.open_generator() as generator:
                labels = label_queries(self._job(found, generator), self._parts(found), self._of.report)
            refuse_unusable(labels, self._of.corpus)
            write_labels(labels, directory)

        return make

    def _parts(self, found: _Round) -> Path:
        """Where parts of the labels lie: those of another plan, teacher or round elsewhere."""
        content = json.dumps(self._label_inputs(found), sort_keys=True)
        return self._of.directory / "shards" / hashlib.sha256(content.encode()).hexdigest()[:16]

    def _job(self, found: _Round, generator: Generator) -> LabelJob:
        planned = _planned(found.queries)
        return LabelJob(
            self._of.teacher(generator),
            self._of.corpus,
            self._of.decoys,
            planned,
            pictures=read_pictures(found.queries.directory, len(planned)),
            inclusion=_inclusion(found.candidates),
            known=read_labels(found.known.directory) if found.known else None,
        )


def _planned(queries: Finished) -> tuple[PlannedQuery, ...]:
    rows: list[dict[str, Any]] = json.loads((queries.directory / _PLANNED).read_text())
    return tuple(PlannedQuery(**row) for row in rows)


def _teaching(queries: Finished) -> NDArray[np.intp]:
    """Rows of the queries that teach."""
    return np.array(
        [row for row, query in enumerate(_planned(queries)) if query.split == TRAIN], dtype=np.intp
    )


def _pictured(queries: Finished) -> list[LabelledQuery]:
    planned = _planned(queries)
    pictures = read_pictures(queries.directory, len(planned))
    return [
        LabelledQuery(picture, query.prompt, query.seed, query.guidance, query.split)
        for picture, query in zip(pictures, planned, strict=True)
    ]


def _inclusion(candidates: Finished) -> NDArray[np.float32] | None:
    path = candidates.directory / _INCLUSION
    if not path.is_file():
        return None
    found: NDArray[np.float32] = np.load(path)
    return found


def _manifest(directory: Path) -> dict[str, Any]:
    """What a label set says of itself; its files' hashes are in it."""
    read_labels(directory)
    found: dict[str, Any] = json.loads((directory / "label-set.json").read_text())
    return found


def _of_length_one(features: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = features / np.linalg.norm(features, axis=1, keepdims=True)
    return found
