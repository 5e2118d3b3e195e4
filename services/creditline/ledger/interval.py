"""The interval of a mean of fractions."""

from __future__ import annotations

import math

# Two-sided 95 % of the normal distribution.
_Z = 1.959963984540054


def mean_interval(mean: float, count: int) -> tuple[float, float]:
    """95 % interval of the mean of `count` ≥ 1 values in [0, 1].

    Wilson's score interval. Values in [0, 1] vary at most as much as yes/no answers of the same mean, so
    it is on the safe side, and it stays wide after one audit, where the sample's own deviation says nothing.
    """
    weight = _Z**2 / count
    centre = (mean + weight / 2) / (1 + weight)
    reach = _Z / (1 + weight) * math.sqrt(mean * (1 - mean) / count + weight / (4 * count))
    return max(centre - reach, 0.0), min(centre + reach, 1.0)
