"""The distillation pipeline: queries → candidates → labels → training → calibration → agreement → release.

Every stage writes an artifact with a fingerprint. An interrupted run resumes where it stopped, even within a
stage, and gives the same release.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from creditline.attribution.unlearning.artifacts import copy_statistics
from creditline.build_lock import build_lock
from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.device_setting import CPU
from creditline.distillation.assessment.halves_figures import halves_figures
from creditline.distillation.assessment.halves_fitting import FittedHalves, fit_halves
from creditline.distillation.assessment.held_out import HeldOut, assess
from creditline.distillation.assessment.prompt_swaps import prompt_swap_figures
from creditline.distillation.assessment.queries import held_out_queries
from creditline.distillation.assessment.reranking_fitting import Gain
from creditline.distillation.assessment.transfer import transfer_figures
from creditline.distillation.assessment.uncertainty import fit_uncertainty
from creditline.distillation.consent import consent_note
from creditline.distillation.forecast import forecast
from creditline.distillation.label_stages import LabelStages
from creditline.distillation.labels.common_scale import on_common_scale
from creditline.distillation.labels.label_set import HELD_OUT, TRANSFER, LabelSet, read_labels
from creditline.distillation.labels.labelling import Shard
from creditline.distillation.release.notes import release_notes
from creditline.distillation.release.publication import ReleaseContent, write_release
from creditline.distillation.release.reranking import RerankingInputs, add_reranking
from creditline.distillation.release_needs import ReleaseNeeds
from creditline.distillation.run_config import RunConfig
from creditline.distillation.run_context import Report, RunContext
from creditline.distillation.stages import FinishedStage, Stages
from creditline.distillation.training.examples import training_examples
from creditline.distillation.training.fitting import Trained, train_encoder
from creditline.encoder.agreement import PromptAgreement
from creditline.encoder.encoder import Encoder, Side
from creditline.encoder.ood import OodDetector
from creditline.files import replace_file
from creditline.release import (
    CALIBRATION,
    ENCODER,
    EVALUATION,
    INTERVALS,
    OOD_DETECTOR,
    PROMPT_AGREEMENT,
    Release,
    open_release,
)

_AFTER_LABELS = 4
_CREATED = "created.txt"
# Version of the files of the calibration stage; raised when their content changes.
_CALIBRATION_FORM = 4
_TRAINED = "training.json"


class Distillation:
    """One run of a configuration.

    Args:
        config: The configuration.
        directory: Directory of the run.
        report: Receives progress messages, one line each.
        device: Device that the models run on.
    """

    def __init__(
        self, config: RunConfig, directory: Path, report: Report = lambda line: None, *, device: str = CPU
    ) -> None:
        self.config = config
        self.directory = directory
        self._device = device
        self._context = RunContext(config, directory, report, device=device)
        self._label_stages = LabelStages(self._context)
        self._report = report

    @property
    def rounds(self) -> int:
        """Number of rounds of labels."""
        return self._label_stages.rounds

    def run(self) -> Release:
        """Compute all stages that are not finished yet.

        Returns:
            The release.

        Raises:
            CreditlineError: A stage failed; a later run resumes there.
        """
        self._announce()
        stages = self._stages()
        labels = self._label_stages.labels(stages)
        training = stages.run("training", self._training_inputs(labels), self._train(labels))
        after = {"labels": labels.fingerprint, "training": training.fingerprint, "seed": self.config.seed}
        calibrated_on = {**after, "form": _CALIBRATION_FORM}
        calibration = stages.run("calibration", calibrated_on, self._calibrate(labels, training))
        assessed = {**after, "calibration": calibration.fingerprint}
        agreement = stages.run("agreement", assessed, self._assess(labels, training, calibration))
        audits = self._audit_statistics(stages)
        made_of = {
            **assessed,
            "agreement": agreement.fingerprint,
            "name": self.config.name,
            "created": self._created().isoformat(),
            "audits": audits.fingerprint if audits else "",
            "places": self._needs.places(),
            **({"adapters": self._needs.adapters()} if self.config.adapters else {}),
        }
        if consent := consent_note(self._context.corpus, self.config.consent_override):
            made_of["consent"] = consent
        publish = self._publish(labels, training, calibration, agreement, audits)
        release = stages.run("release", made_of, publish)
        return open_release(release.directory)

    def add_reranking(self, release: Release) -> tuple[Release, Gain]:
        """Add what re-ranked answers need to a copy of the finished release.

        Args:
            release: The copy; the release among the stages is left as it is.

        Returns:
            The copy with gradient rows and their calibration, and what re-ranking adds.

        Raises:
            CreditlineError: As `creditline.distillation.release.reranking.add_reranking`.
        """
        labels, context = self._label_stages.labels(self._stages()), self._context
        with context.open_generator() as generator:
            inputs = RerankingInputs(release, context.corpus, generator, self._labels(labels), context.store)
            return add_reranking(
                inputs, self.directory / "reranking", seed=self.config.seed, report=self._report
            )

    def _announce(self) -> None:
        """Report the plan and the expected time, unless the labels exist or a run is resumed."""
        if self.config.labels or (self.directory / "queries").exists():
            return
        # A generator that cannot be used is refused before a large corpus is read.
        _ = self._context.generator_fingerprint
        for sentence in forecast(self._context).sentences():
            self._report(sentence)

    def planned_parts(self, number: int = 1) -> int:
        """Number of parts of a round of labels; the stages that the round depends on are computed.

        Args:
            number: Number of the round, from 1.

        Raises:
            InvalidInput: The configuration has label sets, or fewer rounds.
        """
        return self._label_stages.planned_parts(self._stages(), number)

    def label_shard(self, shard: Shard, number: int = 1) -> None:
        """Label one shard's parts of a round, on any machine that shares the run's directory.

        A later `run` uses the finished parts.

        Args:
            shard: The shard.
            number: Number of the round, from 1.

        Raises:
            InvalidInput: The configuration has label sets, or fewer rounds.
        """
        self._label_stages.label_shard(self._stages(), shard, number)

    def _stages(self) -> Stages:
        count = 1 if self.config.labels else self._label_stages.count
        audits = 1 if self._needs.has_own_teacher else 0
        return Stages(self.directory, count + audits + _AFTER_LABELS, self._report)

    @property
    def _needs(self) -> ReleaseNeeds:
        return ReleaseNeeds(self.config, self.directory / "release")

    def _created(self) -> datetime:
        """The configured date, or the time at which this run was begun."""
        if self.config.created is not None:
            return self.config.created
        path = self.directory / _CREATED
        with build_lock(path):
            if not path.is_file():
                with replace_file(path, durable=True) as draft:
                    draft.write_text(datetime.now(UTC).isoformat(timespec="seconds"))
        return datetime.fromisoformat(path.read_text())

    def _audit_statistics(self, stages: Stages) -> FinishedStage | None:
        """Statistics of the teacher that audits a release of its own generator; None for the reference."""
        if not self._needs.has_own_teacher:
            return None
        context = self._context
        inputs = {
            "generator": context.generator_fingerprint,
            "corpus": context.corpus.fingerprint,
        }
        return stages.run("audit-teacher", inputs, self._prepare_audits)

    def _prepare_audits(self, directory: Path) -> None:
        context = self._context
        with context.open_generator() as generator:
            context.prepared_teacher(generator)
        copy_statistics(context.artifacts, directory)

    def _training_inputs(self, labels: FinishedStage) -> dict[str, object]:
        return {
            "labels": labels.fingerprint,
            "towers": self._context.store.towers.fingerprint,
            "work_features": self._context.given.fingerprint if self._context.given else "",
            "plan": repr(self.config.plan()),
            "width": self.config.width,
            "seed": self.config.seed,
        }

    def _train(self, labels: FinishedStage) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            examples = training_examples(self._labels(labels), self._context.corpus, self._context.store)
            trained = train_encoder(
                examples,
                [self.config.plan()],
                seed=self.config.seed,
                device=self._device,
                report=self._report,
            )
            trained.encoder.truncated(self.config.width or trained.plan.width).save(directory / ENCODER)
            figures = {name: getattr(trained, name) for name in ("epochs", "validation_ndcg", "start_ndcg")}
            (directory / _TRAINED).write_text(json.dumps(figures, indent=1) + "\n")

        return make

    def _calibrate(self, labels: FinishedStage, training: FinishedStage) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            context = self._context
            known = training_examples(self._labels(labels), context.corpus, context.store).queries
            holders = tuple(work.keyed_holders for work in context.corpus)
            encoder, held_out, seed = _encoder(training), self._held_out(labels), self.config.seed
            uncertainty = fit_uncertainty(encoder, known, held_out, holders, seed=seed)
            halves = fit_halves(encoder, known, held_out, holders, seed=seed)
            (directory / CALIBRATION).write_text(uncertainty.calibration.to_json() + "\n")
            (directory / INTERVALS).write_text(uncertainty.intervals.to_json() + "\n")
            if uncertainty.ood_detector is not None:
                uncertainty.ood_detector.save(directory / OOD_DETECTOR)
            if uncertainty.prompt_agreement is not None:
                uncertainty.prompt_agreement.save(directory / PROMPT_AGREEMENT)
            if halves is not None:
                halves.save(directory)

        return make

    def _assess(
        self, labels: FinishedStage, training: FinishedStage, calibration: FinishedStage
    ) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            encoder, seed = _encoder(training), self.config.seed
            figures = dict(assess(encoder, self._held_out(labels), seed=seed).figures)
            if len(self._labels(labels).rows(TRANSFER)):
                transfer = self._held_out(labels, TRANSFER)
                figures |= transfer_figures(encoder, transfer, _intervals(calibration), seed=seed)
            if (prompt_agreement := _prompt_agreement(calibration)) is not None:
                figures |= prompt_swap_figures(prompt_agreement, self._held_out(labels).queries, seed=seed)
            if (halves := FittedHalves.load(calibration.directory)) is not None:
                figures |= halves_figures(encoder, halves.imputation, self._held_out(labels), seed=seed)
            content = json.dumps({name: asdict(estimate) for name, estimate in figures.items()}, indent=1)
            (directory / EVALUATION).write_text(content + "\n")

        return make

    def _publish(
        self,
        labels: FinishedStage,
        training: FinishedStage,
        calibration: FinishedStage,
        agreement: FinishedStage,
        audits: FinishedStage | None,
    ) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            encoder, labelled, context = _encoder(training), self._labels(labels), self._context
            ood_detector, evaluation = calibration.directory / OOD_DETECTOR, _json(agreement, EVALUATION)
            content = ReleaseContent(
                name=self.config.name,
                encoder=encoder,
                work_vectors=encoder.encode_features(context.store.works(context.corpus), Side.WORK),
                calibration=Calibration.from_json((calibration.directory / CALIBRATION).read_text()),
                intervals=_intervals(calibration),
                ood_detector=OodDetector.load(ood_detector) if ood_detector.is_file() else None,
                prompt_agreement=_prompt_agreement(calibration),
                halves=FittedHalves.load(calibration.directory),
                evaluation=evaluation,
                corpus=context.corpus,
                generator_fingerprint=labelled.generator_fingerprint,
                towers_fingerprint=context.store.towers.fingerprint,
                figures={name: estimate["value"] for name, estimate in evaluation.items()},
                notes=self._notes(labelled, encoder, training),
                created=self._created(),
                places=self._needs.places(),
                adapters=self._needs.adapters(),
                teacher_statistics=audits.directory if audits else None,
            )
            write_release(content, directory)

        return make

    def _notes(self, labels: LabelSet, encoder: Encoder, training: FinishedStage) -> str:
        trained = Trained(encoder, self.config.plan(), seconds=0.0, **_json(training, _TRAINED))
        consent = consent_note(self._context.corpus, self.config.consent_override)
        notes = release_notes(on_common_scale(labels), trained, self.config.seed)
        return f"{notes}\n\n{consent}" if consent else notes

    def _labels(self, labels: FinishedStage) -> LabelSet:
        return read_labels(labels.directory)

    def _held_out(self, labels: FinishedStage, split: str = HELD_OUT) -> HeldOut:
        context = self._context
        decoys = context.decoys if len(context.decoys) else None
        return held_out_queries(self._labels(labels), context.corpus, decoys, context.store, split)


def _encoder(training: FinishedStage) -> Encoder:
    return Encoder.load(training.directory / ENCODER)


def _intervals(calibration: FinishedStage) -> AnswerIntervals:
    return AnswerIntervals.from_json((calibration.directory / INTERVALS).read_text())


def _prompt_agreement(calibration: FinishedStage) -> PromptAgreement | None:
    path = calibration.directory / PROMPT_AGREEMENT
    return PromptAgreement.load(path) if path.is_file() else None


def _json(stage: FinishedStage, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((stage.directory / name).read_text())
    return content
