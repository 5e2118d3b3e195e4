"""Weights of the draws in a mean over draws, the same for gradients and for scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.errors import InvalidInput
from creditline.generator.losses import Draws


def relative_draw_weights(losses: NDArray[Any], draws: Draws) -> Tensor:
    """Weights of the draws that make the works' mean loss the same at every timestep.

    Args:
        losses: (N, draws) losses of the works under the generator, timestep-major.
        draws: The draws of the losses.

    Returns:
        Weights with mean 1: (draws,) float32; 0 at a timestep at which no work has a loss, such as the last
        one of a schedule that ends in pure noise.

    Raises:
        InvalidInput: The losses are 0 at all timesteps, or not finite.
    """
    by_timestep = np.asarray(losses, dtype=np.float64).reshape(len(losses), draws.timesteps, draws.repeats)
    means = by_timestep.mean(axis=(0, 2)).repeat(draws.repeats)
    if not np.isfinite(means).all() or not means.any():
        raise InvalidInput(
            f"the mean losses of {len(losses)} works are {means.min():.3g} to {means.max():.3g}; they must be"
            " finite and not all 0: check the works, and the generator's weights for NaN",
            field="loss",
        )
    weights = np.divide(1.0, means, out=np.zeros_like(means), where=means > 0)
    return torch.from_numpy(weights / weights.mean()).float()
