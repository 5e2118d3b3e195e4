"""The first stages of a run: queries with pictures → candidates → labels, in one round or in two.

In the second round, a student trained on the first round's labels adds candidates that raw features missed.
Existing label sets replace all of these stages.
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

from creditline.corpus.directions import unit_rows
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
from creditline.distillation.stages import FinishedStage, Stages
from creditline.distillation.training.examples import training_examples
from creditline.distillation.training.fitting import encoder_scores, train_encoder
from creditline.encoder.encoder import Encoder
from creditline.errors import InvalidInput
from creditline.generator.pipeline import Generator
from creditline.release import ENCODER

_PLANNED, _INCLUSION = "planned.json", "inclusion.npy"
FIRST, SECOND = 1, 2


@dataclass(frozen=True)
class _Round:
    """The stages that a round of labels depends on."""

    queries: FinishedStage
    """Planned queries and their pictures."""
    candidates: FinishedStage
    """Candidates of this round."""
    known: FinishedStage | None
    """Labels of the round before; None in the first round."""


class LabelStages:
    """The stages up to the labels, in the directory of a run.

    Args:
        context: Resources of the run.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._config = context.config

    @property
    def rounds(self) -> int:
        """Number of rounds of labels: 2 where a student adds candidates, else 1."""
        candidates = self._config.candidates
        return SECOND if candidates is not None and candidates.by_student else FIRST

    @property
    def count(self) -> int:
        """Number of stages up to the labels."""
        return 3 if self.rounds == FIRST else 6

    def labels(self, stages: Stages) -> FinishedStage:
        """Compute the labels of the last round, or join the label sets of the configuration.

        Args:
            stages: The stages of the run.

        Raises:
            CreditlineError: A stage failed.
        """
        if self._config.labels:
            return stages.run("labels", self._existing_inputs(), self._join_existing)
        last = self._round(stages, self.rounds)
        return stages.run("labels", self._label_inputs(last), self._label(last))

    def planned_parts(self, stages: Stages, number: int) -> int:
        """Number of parts of a round of labels; the stages that the round depends on are computed.

        Args:
            stages: The stages of the run.
            number: Number of the round, from 1.

        Raises:
            InvalidInput: The configuration has label sets, or fewer rounds.
        """
        self._refuse_given()
        return count_parts(len(_planned(self._round(stages, number).queries)))

    def label_shard(self, stages: Stages, shard: Shard, number: int) -> None:
        """Label one shard's parts of a round, on any machine that shares the run's directory.

        Args:
            stages: The stages of the run.
            shard: The shard.
            number: Number of the round, from 1.

        Raises:
            InvalidInput: The configuration has label sets, or fewer rounds.
        """
        self._refuse_given()
        current = self._round(stages, number)
        with self._context.open_generator() as generator:
            label_shard(self._job(current, generator), self._parts(current), shard, self._context.report)

    def _refuse_given(self) -> None:
        if self._config.labels:
            raise InvalidInput(
                "the configuration has existing labels, so there is nothing to label; run it without shards",
                field="labels",
            )

    def _round(self, stages: Stages, number: int) -> _Round:
        if not FIRST <= number <= self.rounds:
            raise InvalidInput(
                f"there is no round {number} of labels; this configuration has {self.rounds}, counted from 1",
                field="round",
            )
        queries = stages.run("queries", self._query_inputs(), self._make_queries)
        drawn = {"queries": queries.fingerprint, **self._candidate_inputs()}
        if self.rounds == FIRST:
            return _Round(queries, stages.run("candidates", drawn, self._draw(queries)), None)
        first = _Round(queries, stages.run("first-candidates", drawn, self._draw(queries)), None)
        if number == FIRST:
            return first
        labels = stages.run("first-labels", self._label_inputs(first), self._label(first))
        trained_on = {"labels": labels.fingerprint, "towers": self._context.store.towers.fingerprint}
        plan = {"plan": repr(self._config.plan()), "seed": self._config.seed}
        student = stages.run("first-student", {**trained_on, **plan}, self._train(labels))
        more = {"first": first.candidates.fingerprint, "student": student.fingerprint, **drawn}
        return _Round(
            queries, stages.run("candidates", more, self._draw_more(first, labels, student)), labels
        )

    def _query_inputs(self) -> dict[str, object]:
        queries = self._context.queries
        files = (queries.listed, queries.transfer)
        return {
            "corpus": self._context.corpus.fingerprint,
            "generator": self._context.generator_fingerprint,
            "queries": queries.model_dump(exclude={"listed", "transfer"}),
            "prompts": [read_prompts(path) if path else [] for path in files],
            "seed": self._config.seed,
        }

    def _make_queries(self, directory: Path) -> None:
        planned = self._plan()
        rows = [dataclasses.asdict(query) for query in planned]
        (directory / _PLANNED).write_text(json.dumps(rows, indent=1) + "\n")
        with self._context.open_generator() as generator:
            self._context.check_prediction(generator)
            make_pictures(generator, planned, directory, self._context.report)

    def _plan(self) -> list[PlannedQuery]:
        """Plan evaluation queries, then training queries, which share no prompt with them."""
        corpus, queries, seed = self._context.corpus, self._context.queries, 4 * self._config.seed
        mixed, guidances = queries.mixed_fraction, queries.guidances
        evaluation = plan_queries(
            corpus, training=0, held_out=queries.held_out, mixed_fraction=mixed, seed=seed + 1
        )
        if queries.transfer:
            prompts = self._farthest(read_prompts(queries.transfer), queries.transfer_count)
            evaluation += plan_listed(prompts, split=TRANSFER, guidances=guidances, seed=seed + 3)
        excluded = [query.prompt for query in evaluation]
        listed = self._listed(excluded)
        training = plan_more(
            corpus,
            count=queries.training - len(listed),
            mixed_fraction=mixed,
            guidances=guidances,
            excluded=excluded,
            seed=seed + 2,
        )
        return [
            *evaluation,
            *training,
            *plan_listed(listed, split=TRAIN, guidances=guidances, seed=seed + 4),
        ]

    def _listed(self, excluded: list[str]) -> list[str]:
        """Prompts of the configured file for training queries, without those of evaluation queries."""
        queries = self._context.queries
        if queries.listed is None:
            return []
        reserved = {prompt.casefold() for prompt in excluded}
        free = [prompt for prompt in read_prompts(queries.listed) if prompt.casefold() not in reserved]
        needed = round(queries.listed_fraction * queries.training)
        if len(free) < needed:
            raise InvalidInput(
                f"{queries.listed} has {len(free)} prompts for training queries, but {needed} are needed;"
                " write more, or lower queries.listed_fraction",
                field="queries.listed",
            )
        return free[:needed]

    def _farthest(self, prompts: list[str], count: int) -> list[str]:
        towers = self._context.store.towers
        prompt_features, caption_features = (
            unit_rows(towers.text_features(texts).cpu().numpy())
            for texts in (prompts, [work.caption for work in self._context.corpus])
        )
        return farthest_prompts(prompts, prompt_features, caption_features, count)

    def _candidate_inputs(self) -> dict[str, object]:
        candidates = self._config.candidates
        if candidates is None:
            return {"candidates": "all works"}
        return {"candidates": candidates.model_dump(), "towers": self._context.store.towers.fingerprint}

    def _draw(self, queries: FinishedStage) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            if self._config.candidates is None:
                return
            planned, training = _planned(queries), _training_rows(queries)
            store = self._context.store
            features = store.queries(_with_pictures(queries))[training]
            cosines = features @ store.works(self._context.corpus).T
            seeds = [planned[row].seed for row in training]
            inclusion = np.ones((len(planned), len(self._context.corpus)), dtype=np.float32)
            inclusion[training] = draw_candidates(cosines, self._config.candidates.plan(), seeds)
            np.save(directory / _INCLUSION, inclusion)

        return make

    def _draw_more(
        self, first: _Round, labels: FinishedStage, student: FinishedStage
    ) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            assert self._config.candidates is not None
            inclusion, training = _inclusion(first.candidates), _training_rows(first.queries)
            assert inclusion is not None
            examples = training_examples(
                read_labels(labels.directory), self._context.corpus, self._context.store
            )
            encoder = Encoder.load(student.directory / ENCODER)
            cosines = encoder_scores(encoder, examples.queries, examples.works)
            by_student = self._config.candidates.by_student
            inclusion[training] = add_by_student(inclusion[training], cosines, by_student)
            np.save(directory / _INCLUSION, inclusion)

        return make

    def _train(self, labels: FinishedStage) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            examples = training_examples(
                read_labels(labels.directory), self._context.corpus, self._context.store
            )
            plan, seed = self._config.plan(), self._config.seed
            trained = train_encoder(
                examples, [plan], seed=seed, device=self._context.device, report=self._context.report
            )
            trained.encoder.save(directory / ENCODER)

        return make

    def _existing_inputs(self) -> dict[str, object]:
        return {"labels": [_manifest(directory) for directory in self._config.labels]}

    def _join_existing(self, directory: Path) -> None:
        labels = join_labels([read_labels(existing) for existing in self._config.labels])
        if self._config.generator is not None:
            refuse_other_generator(labels, self._context.generator_fingerprint)
        refuse_unusable(labels, self._context.corpus)
        write_labels(labels, directory)

    def _label_inputs(self, current: _Round) -> dict[str, object]:
        return {
            "queries": current.queries.fingerprint,
            "candidates": current.candidates.fingerprint,
            "known": current.known.fingerprint if current.known else "",
            "generator": self._context.generator_fingerprint,
            "corpus": self._context.corpus.fingerprint,
            "teacher": self._config.teacher,
        }

    def _label(self, current: _Round) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            with self._context.open_generator() as generator:
                labels = label_queries(
                    self._job(current, generator), self._parts(current), self._context.report
                )
            refuse_unusable(labels, self._context.corpus)
            write_labels(labels, directory)

        return make

    def _parts(self, current: _Round) -> Path:
        """Directory of the labels' parts, different for every plan, teacher and round."""
        content = json.dumps(self._label_inputs(current), sort_keys=True)
        return self._context.directory / "shards" / hashlib.sha256(content.encode()).hexdigest()[:16]

    def _job(self, current: _Round, generator: Generator) -> LabelJob:
        planned = _planned(current.queries)
        return LabelJob(
            self._context.teacher(generator),
            self._context.corpus,
            self._context.decoys,
            planned,
            pictures=read_pictures(current.queries.directory, len(planned)),
            inclusion=_inclusion(current.candidates),
            known=read_labels(current.known.directory) if current.known else None,
        )


def _planned(queries: FinishedStage) -> tuple[PlannedQuery, ...]:
    rows: list[dict[str, Any]] = json.loads((queries.directory / _PLANNED).read_text())
    return tuple(PlannedQuery(**row) for row in rows)


def _training_rows(queries: FinishedStage) -> NDArray[np.intp]:
    """Row numbers of the training queries."""
    return np.array(
        [row for row, query in enumerate(_planned(queries)) if query.split == TRAIN], dtype=np.intp
    )


def _with_pictures(queries: FinishedStage) -> list[LabelledQuery]:
    planned = _planned(queries)
    pictures = read_pictures(queries.directory, len(planned))
    return [
        LabelledQuery(picture, query.prompt, query.seed, query.guidance, query.split)
        for picture, query in zip(pictures, planned, strict=True)
    ]


def _inclusion(candidates: FinishedStage) -> NDArray[np.float32] | None:
    path = candidates.directory / _INCLUSION
    if not path.is_file():
        return None
    inclusion: NDArray[np.float32] = np.load(path)
    return inclusion


def _manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a label set, after a check of the files against its hashes."""
    read_labels(directory)
    manifest: dict[str, Any] = json.loads((directory / "label-set.json").read_text())
    return manifest
