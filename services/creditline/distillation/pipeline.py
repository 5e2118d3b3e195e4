"""A whole distillation, stage by stage: queries → labels → training → calibration → agreement → release.

Every stage leaves an artifact with a fingerprint; a run that was cut off, even in the middle of a stage,
goes on where it was, and comes to the same release.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from creditline.attribution.teacher import prepare_teacher
from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.corpus.works import Corpus, read_corpus
from creditline.distillation.assessment import HeldOut, assess
from creditline.distillation.building import (
    contributors_of,
    evaluation_of,
    held_out_part,
    in_one_unit,
    refuse_unusable,
    release_notes,
    training_part,
)
from creditline.distillation.encoder import Encoder, Side
from creditline.distillation.features import FeatureStore
from creditline.distillation.label_teachers import FirstOrder, LabelTeacher, method_teacher
from creditline.distillation.labelling import LabelJob, Shard, count_parts, label_queries, label_shard
from creditline.distillation.labels import FIRST_ORDER, LabelSet, read_labels, write_labels
from creditline.distillation.publication import ReleaseContent, write_release
from creditline.distillation.queries import PlannedQuery, plan_more, plan_queries
from creditline.distillation.run_config import RunConfig
from creditline.distillation.stages import Finished, Stages
from creditline.distillation.sureness import fit_sureness
from creditline.distillation.towers import Towers, TowerSpec
from creditline.distillation.training import Trained, train_encoder
from creditline.distillation.unfamiliarity import Familiar
from creditline.errors import InvalidInput
from creditline.generator.assembly import assemble_reference
from creditline.generator.pipeline import Generator, generator_fingerprint
from creditline.generator.reference import reference_corpus, reference_decoys
from creditline.release import CALIBRATION, ENCODER, EVALUATION, FAMILIAR, INTERVALS, Release, open_release

_STAGES = 6
# Of what the calibration's stage writes: changes when it writes something else.
_CALIBRATION_FORM = 2
_PLANNED, _TRAINED = "planned.json", "training.json"
Say = Callable[[str], None]


class Distillation:
    """One run of a configuration in a directory of its own."""

    def __init__(self, config: RunConfig, directory: Path, say: Say = lambda line: None) -> None:
        self.config = config
        self.directory = directory
        self._say = say

    @cached_property
    def corpus(self) -> Corpus:
        """What the generator was trained on."""
        return read_corpus(self.config.corpus) if self.config.corpus else reference_corpus()

    @cached_property
    def decoys(self) -> Corpus:
        """Pictures that it never saw; a corpus of one's own has none."""
        return self.corpus.subset((), name="none") if self.config.corpus else reference_decoys()

    @cached_property
    def generator_directory(self) -> Path:
        """Its pipeline."""
        return self.config.generator or assemble_reference(self.directory / "generator")

    @cached_property
    def store(self) -> FeatureStore:
        """Tower features, kept beside the stages."""
        towers = Towers.open(TowerSpec.parse(self.config.towers))
        return FeatureStore(towers, self.directory / "features", self._say)

    def run(self) -> Release:
        """All stages that are not there yet. Raises what they raise; nothing half-made is taken for whole."""
        stages = Stages(self.directory, _STAGES, self._say)
        queries = stages.run("queries", self._query_inputs(), self._plan)
        labels = stages.run("labels", self._label_inputs(queries), self._label(queries))
        training = stages.run("training", self._training_inputs(labels), self._train(labels))
        after = {"labels": labels.fingerprint, "training": training.fingerprint, "seed": self.config.seed}
        sure = {**after, "form": _CALIBRATION_FORM}
        calibration = stages.run("calibration", sure, self._calibrate(labels, training))
        agreement = stages.run("agreement", after, self._assess(labels, training))
        made_of = {
            **after,
            "calibration": calibration.fingerprint,
            "agreement": agreement.fingerprint,
            "name": self.config.name,
            "created": self.config.created.isoformat(),
        }
        release = stages.run("release", made_of, self._publish(labels, training, calibration, agreement))
        return open_release(release.directory)

    def planned_parts(self) -> int:
        """Plan the queries, and say how many parts of labels they make."""
        return count_parts(len(_json_rows(self._queries())))

    def label_shard(self, shard: Shard) -> None:
        """Label one shard's parts, on this machine or another that sees the same directory.

        A `run` then takes the parts as they are. Raises InvalidInput where labels are given.
        """
        if self.config.labels is not None:
            raise InvalidInput("the labels are there already; run without shards", field="labels")
        queries = self._queries()
        with Generator.open(self.generator_directory) as generator:
            label_shard(self._job(queries, generator), self._shards(queries), shard, self._say)

    def _shards(self, queries: Finished) -> Path:
        """Where parts of the labels lie: those of another plan or teacher elsewhere."""
        content = json.dumps(self._label_inputs(queries), sort_keys=True)
        return self.directory / "shards" / hashlib.sha256(content.encode()).hexdigest()[:16]

    def _queries(self) -> Finished:
        return Stages(self.directory, _STAGES, self._say).run("queries", self._query_inputs(), self._plan)

    def _query_inputs(self) -> dict[str, object]:
        if self.config.labels is not None:
            return {"labels": str(self.config.labels)}
        return {
            "corpus": self.corpus.fingerprint,
            "queries": self.config.queries.model_dump(),
            "seed": self.config.seed,
        }

    def _plan(self, directory: Path) -> None:
        """Those that judge come first and share no prompt with those that teach."""
        planned: list[PlannedQuery] = []
        asked, seed = self.config.queries, self.config.seed
        if self.config.labels is None:
            planned = plan_queries(
                self.corpus,
                training=0,
                held_out=asked.held_out,
                mixed_fraction=asked.mixed_fraction,
                seed=2 * seed + 1,
            )
            planned += plan_more(
                self.corpus,
                count=asked.training,
                mixed_fraction=asked.mixed_fraction,
                guidances=asked.guidances,
                spared=[query.prompt for query in planned],
                seed=2 * seed + 2,
            )
        rows = [dataclasses.asdict(query) for query in planned]
        (directory / _PLANNED).write_text(json.dumps(rows, indent=1) + "\n")

    def _label_inputs(self, queries: Finished) -> dict[str, object]:
        if self.config.labels is not None:
            manifest = read_labels(self.config.labels)
            return {"corpus": manifest.corpus_fingerprint, "labels": _manifest(self.config.labels)}
        return {
            "queries": queries.fingerprint,
            "generator": generator_fingerprint(self.generator_directory),
            "corpus": self.corpus.fingerprint,
            "teacher": self.config.teacher,
        }

    def _label(self, queries: Finished) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            if self.config.labels is not None:
                labels = read_labels(self.config.labels)
            else:
                with Generator.open(self.generator_directory) as generator:
                    job = self._job(queries, generator)
                    labels = label_queries(job, self._shards(queries), self._say)
            refuse_unusable(labels, self.corpus)
            write_labels(labels, directory)

        return make

    def _job(self, queries: Finished, generator: Generator) -> LabelJob:
        planned = tuple(PlannedQuery(**row) for row in _json_rows(queries))
        return LabelJob(self._teacher(generator), self.corpus, self.decoys, planned)

    def _teacher(self, generator: Generator) -> LabelTeacher:
        artifacts = self.config.artifacts or self.directory / "teacher"
        if self.config.teacher == FIRST_ORDER:
            return FirstOrder(prepare_teacher(generator, self.corpus, artifacts, self._say))
        return method_teacher(self.config.teacher, generator, self.corpus, artifacts)

    def _training_inputs(self, labels: Finished) -> dict[str, object]:
        return {
            "labels": labels.fingerprint,
            "towers": self.store.towers.fingerprint,
            "plan": repr(self.config.plan()),
            "width": self.config.width,
            "seed": self.config.seed,
        }

    def _train(self, labels: Finished) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            examples = training_part(self._labels(labels), self.corpus, self.store)
            trained = train_encoder(examples, [self.config.plan()], seed=self.config.seed, say=self._say)
            trained.encoder.narrowed(self.config.width or trained.plan.width).save(directory / ENCODER)
            reached = {name: getattr(trained, name) for name in ("epochs", "validation_ndcg", "start_ndcg")}
            (directory / _TRAINED).write_text(json.dumps(reached, indent=1) + "\n")

        return make

    def _calibrate(self, labels: Finished, training: Finished) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            known = training_part(self._labels(labels), self.corpus, self.store).queries
            sureness = fit_sureness(
                _encoder(training),
                known,
                self._held_out(labels),
                contributors_of(self.corpus),
                seed=self.config.seed,
            )
            (directory / CALIBRATION).write_text(sureness.calibration.to_json() + "\n")
            (directory / INTERVALS).write_text(sureness.intervals.to_json() + "\n")
            if sureness.familiar is not None:
                sureness.familiar.save(directory / FAMILIAR)

        return make

    def _assess(self, labels: Finished, training: Finished) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            assessment = assess(_encoder(training), self._held_out(labels), seed=self.config.seed)
            found = json.dumps(evaluation_of(assessment), indent=1)
            (directory / EVALUATION).write_text(found + "\n")

        return make

    def _publish(
        self, labels: Finished, training: Finished, calibration: Finished, agreement: Finished
    ) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            encoder, labelled = _encoder(training), self._labels(labels)
            familiar, evaluation = calibration.directory / FAMILIAR, _json(agreement, EVALUATION)
            content = ReleaseContent(
                name=self.config.name,
                encoder=encoder,
                work_vectors=encoder.encode_features(self.store.works(self.corpus), Side.WORK),
                calibration=Calibration.from_json((calibration.directory / CALIBRATION).read_text()),
                intervals=AnswerIntervals.from_json((calibration.directory / INTERVALS).read_text()),
                familiar=Familiar.load(familiar) if familiar.is_file() else None,
                evaluation=evaluation,
                corpus=self.corpus,
                generator_fingerprint=labelled.generator_fingerprint,
                towers_fingerprint=self.store.towers.fingerprint,
                figures={name: estimate["value"] for name, estimate in evaluation.items()},
                notes=self._notes(labelled, encoder, training),
                created=self.config.created,
            )
            write_release(content, directory)

        return make

    def _notes(self, labels: LabelSet, encoder: Encoder, training: Finished) -> str:
        trained = Trained(encoder, self.config.plan(), seconds=0.0, **_json(training, _TRAINED))
        return release_notes(in_one_unit(labels), trained, self.config.seed)

    def _labels(self, labels: Finished) -> LabelSet:
        return read_labels(labels.directory)

    def _held_out(self, labels: Finished) -> HeldOut:
        decoys = self.decoys if len(self.decoys) else None
        return held_out_part(self._labels(labels), self.corpus, decoys, self.store)


def _encoder(training: Finished) -> Encoder:
    return Encoder.load(training.directory / ENCODER)


def _json(stage: Finished, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((stage.directory / name).read_text())
    return found


def _json_rows(queries: Finished) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((queries.directory / _PLANNED).read_text())
    return found


def _manifest(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "label-set.json").read_text())
    return found
