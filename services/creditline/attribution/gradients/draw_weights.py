"""Weights of the draws in a mean over draws, the same for gradients and for scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.generator.losses import Draws


def relative_draw_weights(losses: NDArray[Any], draws: Draws) -> Tensor:
    """Weights of the draws that make the works' mean loss the same at every timestep.

    Args:
        losses: (N, draws) losses of the works under the generator, timestep-major.
        draws: The draws of the losses.

    Returns:
        Weights with mean 1: (draws,) float32.
    """
    by_timestep = np.asarray(losses, dtype=np.float64).reshape(len(losses), draws.timesteps, draws.repeats)
    weights = 1.0 / by_timestep.mean(axis=(0, 2)).repeat(draws.repeats)
    return torch.from_numpy(weights / weights.mean()).float()
