"""From labels to a release: features, training, calibration, assessment, and the directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.works import Corpus
from creditline.devices import CPU
from creditline.distillation.assessment.held_out import Assessment, HeldOut, assess
from creditline.distillation.assessment.uncertainty import fit_sureness
from creditline.distillation.labels.candidates import weights_of
from creditline.distillation.labels.label_set import FIRST_ORDER, HELD_OUT, TRAIN, LabelSet
from creditline.distillation.release.publication import ReleaseContent, write_release
from creditline.distillation.training.feature_store import FeatureStore
from creditline.distillation.training.fitting import Examples, Trained, TrainingPlan, train_encoder
from creditline.distillation.training.losses import LossKind
from creditline.encoder.encoder import Side
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.evaluation.bootstrap import Estimate
from creditline.evaluation.lab.common_scale import read_maps
from creditline.release import Release

_OURS = TrainingPlan(
    loss=LossKind.CORRELATION,
    learning_rate=1e-3,
    works_per_step=1024,
    hidden=512,
    layers=2,
    reduced=512,
)
DEFAULT_PLANS = (
    _OURS,
    *(TrainingPlan(loss=loss) for loss in (LossKind.SHARE, LossKind.LISTWISE, LossKind.RANK)),
)


_TEACHERS = {
    FIRST_ORDER: "the first-order limit of attribution by unlearning (EK-FAC, loss of the predicted noise)",
    "consensus-gradients-attn": "the consensus of gradients (influence functions, D-TRAK, DAS) and prompts",
}


@dataclass(frozen=True, eq=False)
class Built:
    """A release with how it was trained and what it is worth."""

    release: Release
    trained: Trained
    assessment: Assessment


def build_release(
    labels: LabelSet,
    corpus: Corpus,
    decoys: Corpus | None,
    store: FeatureStore,
    directory: Path,
    *,
    name: str,
    seed: int,
    plans: Sequence[TrainingPlan] = DEFAULT_PLANS,
    device: str = CPU,
    say: Callable[[str], None] = lambda line: None,
) -> Built:
    """Train on the training queries, calibrate and assess on the held-out ones, and write the release.

    device: where the encoder is trained.

    Raises FingerprintMismatch when the labels are of another corpus, InvalidInput when the splits overlap
    or a split is empty.
    """
    refuse_unusable(labels, corpus)
    labels = in_one_unit(labels)
    works, examples = store.works(corpus), training_part(labels, corpus, store)
    held_out = held_out_part(labels, corpus, decoys, store)
    trained = train_encoder(examples, plans, seed=seed, device=device, say=say)
    assessment = assess(trained.encoder, held_out, seed=seed)
    sureness = fit_sureness(trained.encoder, examples.queries, held_out, contributors_of(corpus), seed=seed)
    content = ReleaseContent(
        name=name,
        encoder=trained.encoder,
        work_vectors=trained.encoder.encode_features(works, Side.WORK),
        calibration=sureness.calibration,
        intervals=sureness.intervals,
        familiar=sureness.familiar,
        evaluation=evaluation_of(assessment.figures),
        corpus=corpus,
        generator_fingerprint=labels.generator_fingerprint,
        towers_fingerprint=store.towers.fingerprint,
        figures={figure: estimate.value for figure, estimate in assessment.figures.items()},
        notes=release_notes(labels, trained, seed),
    )
    return Built(write_release(content, directory), trained, assessment)


def contributors_of(corpus: Corpus) -> tuple[str, ...]:
    """Whose each work is, in order."""
    return tuple(work.contributor for work in corpus)


def evaluation_of(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    """Every figure with its interval, of JSON's kinds."""
    return {name: dataclasses.asdict(estimate) for name, estimate in figures.items()}


def training_part(labels: LabelSet, corpus: Corpus, store: FeatureStore) -> Examples:
    """The training queries of a label set with all works, ready to be learnt from."""
    labels = in_one_unit(labels)
    rows = labels.rows(TRAIN)
    queries = store.queries(labels.queries)[rows]
    weights = None if labels.inclusion is None else weights_of(labels.inclusion[rows])
    return Examples(queries, store.works(corpus), labels.influence[rows], store.towers.parts, weights)


def held_out_part(
    labels: LabelSet,
    corpus: Corpus,
    decoys: Corpus | None,
    store: FeatureStore,
    split: str = HELD_OUT,
) -> HeldOut:
    """Queries of a label set that judge, ready to be assessed on."""
    labels = in_one_unit(labels)
    rows = labels.rows(split)
    held_out = HeldOut(
        queries=store.queries(labels.queries)[rows],
        works=store.works(corpus),
        influence=labels.influence[rows],
        parts=store.towers.parts,
        influence_repeat=labels.repeat(split),
    )
    return held_out if decoys is None else _with_decoys(held_out, labels, rows, decoys, store)


def in_one_unit(labels: LabelSet) -> LabelSet:
    """A consensus's labels as ΔL that is to be expected beyond any work's; other teachers' as they are.

    The maps come from the lab, where models were really trained again.
    """
    expected = read_maps().get(labels.teacher)
    if expected is None or labels.in_one_unit:
        return labels

    def mapped(scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return expected.excess(scores.astype(np.float64)).astype(np.float32)

    repeat = labels.influence_repeat
    return dataclasses.replace(
        labels,
        influence=mapped(labels.influence),
        influence_repeat=None if repeat is None else mapped(repeat),
        in_one_unit=True,
    )


def plans_of(losses: Sequence[str] | None) -> Sequence[TrainingPlan]:
    """The default plans with the named losses, or all of them. Raises InvalidInput for an unknown one."""
    known = {plan.loss.value: plan for plan in DEFAULT_PLANS}
    unknown = sorted(set(losses or ()) - set(known))
    if unknown:
        raise InvalidInput(f"there is no loss {unknown[0]!r}; there are {', '.join(known)}", field="loss")
    return [known[loss] for loss in losses] if losses else DEFAULT_PLANS


def _with_decoys(
    held_out: HeldOut, labels: LabelSet, rows: NDArray[np.intp], decoys: Corpus, store: FeatureStore
) -> HeldOut:
    influence = None
    if labels.decoy_influence is not None and labels.decoy_fingerprint == decoys.fingerprint:
        influence = labels.decoy_influence[rows]
    return dataclasses.replace(held_out, decoys=store.works(decoys), decoy_influence=influence)


def refuse_unusable(labels: LabelSet, corpus: Corpus) -> None:
    """Raises FingerprintMismatch for labels of another corpus, InvalidInput for bad splits."""
    if labels.corpus_fingerprint != corpus.fingerprint:
        raise FingerprintMismatch(
            f"the labels are of corpus {labels.corpus_name!r} {labels.corpus_fingerprint[:16]}…, not of"
            f" {corpus.name!r} {corpus.fingerprint[:16]}…; label again, or name the other corpus",
            field="corpus_fingerprint",
        )
    for split in (TRAIN, HELD_OUT):
        if len(labels.rows(split)) < 2:
            raise InvalidInput(f"the labels have no {split!r} queries to speak of; label some", field="split")
    _refuse_unlabelled(labels)
    _refuse_equal(labels)
    labels.refuse_overlap()


def refuse_other_generator(labels: LabelSet, generator: str) -> None:
    """Raises FingerprintMismatch for labels of pictures that another generator made."""
    if labels.generator_fingerprint != generator:
        raise FingerprintMismatch(
            f"the labels are of pictures by generator {labels.generator_fingerprint[:16]}…, not by"
            f" {generator[:16]}…; label with this one, or name the other",
            field="generator_fingerprint",
        )


def _refuse_equal(labels: LabelSet) -> None:
    """A query whose works all have the same label teaches nothing and judges nothing."""
    seen = np.ones_like(labels.influence) if labels.inclusion is None else labels.inclusion
    highest = np.where(seen > 0.0, labels.influence, -np.inf).max(axis=1)
    lowest = np.where(seen > 0.0, labels.influence, np.inf).min(axis=1)
    equal = np.flatnonzero(highest <= lowest)
    if len(equal):
        prompt = labels.queries[int(equal[0])].prompt
        raise InvalidInput(
            f"all labels of {len(equal)} queries are equal, e.g. of {prompt!r}; see that the teacher can"
            " forget those pictures, or leave the queries out",
            field="influence",
        )


def _refuse_unlabelled(labels: LabelSet) -> None:
    """Queries that judge need every work's label."""
    if labels.inclusion is None:
        return
    judging = [row for row, query in enumerate(labels.queries) if query.split != TRAIN]
    if (labels.inclusion[judging] < 1.0).any():
        raise InvalidInput(
            "a query that judges has works without a label; label every work for those", field="inclusion"
        )


def release_notes(labels: LabelSet, trained: Trained, seed: int) -> str:
    """How an encoder came about, a paragraph of the model card."""
    fields = dataclasses.asdict(trained.plan).items()
    plan = ", ".join(f"{field} {_plain(value)}" for field, value in fields)
    unit = ", as expected ΔL by the lab's map" if labels.in_one_unit else ""
    return f"""\
Teacher: {_TEACHERS.get(labels.teacher, labels.teacher)} on the
generator named above{unit}; labels of {_labelled(labels)} for {len(labels.rows(TRAIN))} training and
of every work for {len(labels.rows(HELD_OUT))} held-out pictures, which share neither prompt nor seed.
Features: frozen towers, and the picture's layout. Student: an MLP beside a linear path, trained for
{trained.epochs} epochs, seed {seed}; the plan was chosen, and the number of epochs, on a part of the training
queries: nDCG@100 there went from {trained.start_ndcg:.3f} (raw features at their best mix) to
{trained.validation_ndcg:.3f}.
The calibration is an isotonic fit of each work's part of its query's positive influence, on the held-out
queries; `calibration_*` are measured on halves that it was not fitted on.

Plan: {plan}."""


def _labelled(labels: LabelSet) -> str:
    if labels.inclusion is None:
        return "every work"
    count = int((labels.inclusion[labels.rows(TRAIN)] > 0.0).sum(axis=1).max())
    return f"up to {count} candidates"


def _plain(value: object) -> object:
    return value.value if isinstance(value, LossKind) else value
