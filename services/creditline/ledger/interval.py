"""Confidence interval of a mean of fractions."""

from __future__ import annotations

import math

# Two-sided 95 % quantile of the normal distribution.
_Z = 1.959963984540054


def mean_interval(mean: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of the mean of values in [0, 1]: Wilson's score interval.

    Values in [0, 1] have at most the variance of binary values with the same mean, so the interval is
    conservative. It stays wide after a single audit, for which a sample deviation does not exist.

    Args:
        mean: Mean of the values.
        count: Number of values, at least 1.

    Returns:
        Lower and upper limit, in [0, 1].
    """
    weight = _Z**2 / count
    centre = (mean + weight / 2) / (1 + weight)
    half_width = _Z / (1 + weight) * math.sqrt(mean * (1 - mean) / count + weight / (4 * count))
    return max(centre - half_width, 0.0), min(centre + half_width, 1.0)
