"""Aids that every method takes, ours and published alike: common noise, λ of its kernel, and sharpening.

A method with its aids is a list of score tables, one for each combination. Which of them counts is chosen on
choosing subsets only (`comparison`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.consensus import sharpened, standardised
from creditline.attribution.methods.registry import COMMON_NOISE
from creditline.attribution.methods.trak import TrakDivisor
from creditline.evaluation.lab.judging.kernels import StoredKernel
from creditline.evaluation.lab.judging.scoring import MethodScores

# Exponents of the scores' absolute values.
POWERS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
# λ relative to the works' mean squared length; a part of D-TRAK's grid.
REGULARISATIONS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
# Methods that share the kernel of another one, with what they divide its scores by.
_SHARED_KERNELS: dict[str, tuple[str, TrakDivisor]] = {
    "relative-influence": ("trak", "relative"),
    "renormalised-influence": ("trak", "renormalised"),
}


@dataclass(frozen=True)
class Aid:
    """One combination of aids."""

    method: str
    """Name of the method, which names its noise."""
    regularisation: float | None
    """λ of the method's kernel; None: the registry's, or the method has no kernel."""
    power: float
    """Exponent of the scores; 1: not sharpened."""

    @property
    def common(self) -> bool:
        """Whether all pictures have the same noise."""
        return self.method.endswith(COMMON_NOISE)


@dataclass(frozen=True)
class AidedMethod:
    """A method with every combination of aids that it may take."""

    name: str
    """Name of the method with noise of each picture's own."""
    aids: tuple[Aid, ...]
    """(V,) the combinations."""
    scores: NDArray[np.float32]
    """(V, Q, N) float32, standardised scores of each combination."""


def aided_method(
    name: str, rows: Sequence[int], scores: Mapping[str, MethodScores], kernels: Mapping[str, StoredKernel]
) -> AidedMethod:
    """A method with all noises, λ and powers for which there are scores.

    Args:
        name: Name of the method with noise of each picture's own.
        rows: Rows of the queries in the lab's record, which all noises scored.
        scores: Scores by method.
        kernels: Kernels by method.
    """
    aids: list[Aid] = []
    tables: list[NDArray[np.float32]] = []
    for variant in (name, f"{name}{COMMON_NOISE}"):
        if variant not in scores:
            continue
        for regularisation, values in _by_regularisation(variant, rows, scores, kernels):
            for power in POWERS:
                aids.append(Aid(variant, regularisation, power))
                tables.append(standardised(sharpened(values, power)).astype(np.float32))
    return AidedMethod(name, tuple(aids), np.stack(tables))


def _by_regularisation(
    variant: str,
    rows: Sequence[int],
    scores: Mapping[str, MethodScores],
    kernels: Mapping[str, StoredKernel],
) -> list[tuple[float | None, NDArray[np.float64]]]:
    """The registry's scores, then those at each λ where the method's kernel is stored."""
    found: list[tuple[float | None, NDArray[np.float64]]] = [(None, scores[variant].of_rows(rows))]
    name = variant.removesuffix(COMMON_NOISE)
    of, divisor = _SHARED_KERNELS.get(name, (name, "one"))
    kernel = kernels.get(of + variant[len(name) :])
    if kernel is not None:
        at = kernel.of_rows(rows).scores(REGULARISATIONS, divisor)
        found += zip(REGULARISATIONS, at, strict=True)
    return found
