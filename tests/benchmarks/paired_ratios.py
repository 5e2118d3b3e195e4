"""Ratio of two rates that are measured in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SEED = 0
_RESAMPLES = 10_000


def ratio_of_medians(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of the medians, with a 95 % bootstrap interval over the turns, which are pairs."""
    pairs = np.array([ours, theirs])
    rng = np.random.default_rng(_SEED)
    drawn = pairs[:, rng.integers(0, pairs.shape[1], (_RESAMPLES, pairs.shape[1]))]
    ratios = np.median(drawn[0], axis=1) / np.median(drawn[1], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(np.median(pairs[0]) / np.median(pairs[1])), float(low), float(high)
