"""What each draw counts for in a mean over draws: for gradients and for scores alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.generator.losses import Draws


def relative_draw_weights(losses: NDArray[Any], draws: Draws) -> Tensor:
    """What each draw counts so that the works' mean loss is the same at every timestep: (draws,) float32.

    losses: (N, draws), of the works under the generator. The weights' mean is 1.
    """
    by_timestep = np.asarray(losses, dtype=np.float64).reshape(len(losses), draws.timesteps, draws.repeats)
    weights = 1.0 / by_timestep.mean(axis=(0, 2)).repeat(draws.repeats)
    return torch.from_numpy(weights / weights.mean()).float()
