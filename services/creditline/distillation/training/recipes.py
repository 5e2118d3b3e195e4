"""Training recipes: the paper's, ours, and variants of ours that change one setting each."""

from __future__ import annotations

from dataclasses import replace

from creditline.distillation.training.fitting import TrainingPlan
from creditline.distillation.training.losses import LossKind

PAPER, OURS = "paper's recipe", "ours"

# An upper limit on epochs: early stopping ends training sooner.
_OURS = TrainingPlan(
    loss=LossKind.SHARE,
    epochs=40,
    learning_rate=1e-3,
    works_per_step=1024,
    hidden=512,
    layers=2,
    reduced=512,
    width=768,
    nested=(128, 256, 512),
)

RECIPES = {
    # arXiv 2511.10721: binary cross-entropy on ranks, three hidden layers of 768, raw features, width 768.
    PAPER: TrainingPlan(
        loss=LossKind.RANK,
        epochs=40,
        learning_rate=1e-3,
        works_per_step=1024,
        feature_noise=0.0,
        width=768,
    ),
    OURS: _OURS,
    "ranks": replace(_OURS, loss=LossKind.RANK),
    "listwise": replace(_OURS, loss=LossKind.LISTWISE),
    "correlation": replace(_OURS, loss=LossKind.CORRELATION),
    "no noise on features": replace(_OURS, feature_noise=0.0),
    "separate heads": replace(_OURS, separate=True),
    "width 256, not nested": replace(_OURS, width=256, nested=()),
}
