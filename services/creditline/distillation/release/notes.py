"""Paragraphs of a model card that state how its encoder was made."""

from __future__ import annotations

import dataclasses

from creditline.distillation.labels.label_set import FIRST_ORDER, HELD_OUT, TRAIN, LabelSet
from creditline.distillation.training.fitting import Trained
from creditline.distillation.training.losses import LossKind

_TEACHERS = {
    FIRST_ORDER: "the first-order limit of attribution by unlearning (EK-FAC, loss of the predicted noise)",
    "consensus-gradients-attn": "the consensus of gradients (influence functions, D-TRAK, DAS)",
}


def release_notes(labels: LabelSet, trained: Trained, seed: int) -> str:
    """Describe teacher, features, training and calibration of an encoder in Markdown.

    Args:
        labels: The label set, on the common scale where its teacher has a map.
        trained: The encoder and the figures of its training.
        seed: Seed of the training.
    """
    fields = dataclasses.asdict(trained.plan).items()
    plan = ", ".join(f"{field} {_plain_value(value)}" for field, value in fields)
    unit = ", as expected ΔL by the lab's map" if labels.on_common_scale else ""
    return f"""\
Teacher: {_TEACHERS.get(labels.teacher, labels.teacher)} on the
generator named above{unit}; labels of {_labelled_works(labels)} for {len(labels.rows(TRAIN))} training and
of every work for {len(labels.rows(HELD_OUT))} held-out pictures, which share neither prompt nor seed.
Features: frozen towers, and the picture's layout. Student: an MLP beside a linear path, trained for
{trained.epochs} epochs, seed {seed}; the plan was chosen, and the number of epochs, on a part of the training
queries: nDCG@100 there went from {trained.start_ndcg:.3f} (raw features at their best mix) to
{trained.validation_ndcg:.3f}.
The calibration is an isotonic fit of each work's part of its query's positive influence, on the held-out
queries, or a softmax with a floor where that gives shares closer to the teacher's; `calibration_*` are
measured on halves that it was not fitted on.

Plan: {plan}."""


def _labelled_works(labels: LabelSet) -> str:
    """The works that are labelled for a training query, in words."""
    if labels.inclusion is None:
        return "every work"
    count = int((labels.inclusion[labels.rows(TRAIN)] > 0.0).sum(axis=1).max())
    return f"up to {count} candidates"


def _plain_value(value: object) -> object:
    return value.value if isinstance(value, LossKind) else value
