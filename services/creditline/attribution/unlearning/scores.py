"""Unlearning scores: one score per work from its losses before and after unlearning the query.

The losses `before` and `after` are (N, draws) float32, at the same noise and on one device; draws are
timestep-major. Every score is (N,) float64; a larger score means more influence.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from creditline.attribution.gradients.draw_weights import relative_draw_weights
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws

UnlearningScore = Callable[[Tensor, Tensor, Draws], "np.ndarray[tuple[int], np.dtype[np.float64]]"]

_SKEW_OFFSET = 1e-3


def loss_difference(before: Tensor, after: Tensor, draws: Draws) -> np.ndarray:
    """AbU's score: mean loss after unlearning minus mean loss before."""
    return (after - before).double().mean(dim=1).cpu().numpy()


def relative_difference(before: Tensor, after: Tensor, draws: Draws) -> np.ndarray:
    """AbU's score with the difference at each timestep in units of the works' mean loss at that timestep."""
    weights = relative_draw_weights(before.cpu().numpy(), draws).double().to(before.device)
    return ((after - before).double() * weights).mean(dim=1).cpu().numpy()


def skew(before: Tensor, after: Tensor, draws: Draws) -> np.ndarray:
    """MUCS's score (arXiv 2605.17938): mean over the draws of (after − before) / (after + before)."""
    later, earlier = after.double(), before.double()
    return ((later - earlier) / (later + earlier + _SKEW_OFFSET)).mean(dim=1).cpu().numpy()


UNLEARNING_SCORES: dict[str, UnlearningScore] = {
    "difference": loss_difference,
    "relative": relative_difference,
    "skew": skew,
}


def unlearning_score_by_name(name: str) -> UnlearningScore:
    """The unlearning score of that name.

    Raises:
        InvalidInput: `UNLEARNING_SCORES` has no such name.
    """
    if name not in UNLEARNING_SCORES:
        raise InvalidInput(
            f"unknown score {name!r}; choose one of {', '.join(UNLEARNING_SCORES)}", field="score"
        )
    return UNLEARNING_SCORES[name]
