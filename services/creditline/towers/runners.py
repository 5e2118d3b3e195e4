"""How the networks of both towers are run: by torch or compiled, one pass at a time or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# Runs a network on a batch: pixels (B, H, W, 3) uint8 or token ids (B, L) int64 -> (B, D) float32.
Runner = Callable[[NDArray[Any]], Tensor]
_PICTURES_PER_PASS = 16


class EagerRunner:
    """Runs a network by torch, on one device."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._device = device

    @torch.inference_mode()
    def __call__(self, inputs: NDArray[np.generic]) -> Tensor:
        """Features of a batch, on the device."""
        features: Tensor = self._network(torch.from_numpy(inputs).to(self._device))
        return features


class Runners:
    """A runner for each tower, and the threads that their passes share.

    Attributes:
        image: Runs the image tower.
        text: Runs the text tower.
        pictures: Greatest number of pictures in a pass.
        threads: Number of forward passes that run at the same time. Torch divides a pass among threads of
            its own, so eager runners need one.
    """

    def __init__(
        self, image: Runner, text: Runner, *, pictures: int = _PICTURES_PER_PASS, threads: int = 1
    ) -> None:
        self.image = image
        self.text = text
        self.pictures = pictures
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "towers") if threads > 1 else None

    def run(self, passes: Iterable[Callable[[], Tensor]]) -> list[Tensor]:
        """Results of forward passes, in order; the first ones run while later ones are still being made."""
        if self._pool is None:
            return [run() for run in passes]
        return list(self._pool.map(_call, passes))


def _call(run: Callable[[], Tensor]) -> Tensor:
    return run()
