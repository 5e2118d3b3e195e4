"""Shares as a softmax of cosines, whose temperature and floor depend on the query's nearest work.

A curve over cosines alone gives the same influence to a work whatever else is near the query. Shares of one
query compare its works with each other: a work's strength falls off exponentially with its distance from the
nearest one, and all works have a floor in common, which most of a query's influence may lie in.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.errors import InvalidInput

# Strengths below exp(-12) are far below any floor.
_DEEPEST = 12.0
_KNOTS = 257
_LEAST_TEMPERATURE = 1e-3


@dataclass(frozen=True)
class Softmax:
    """Expected influence exp((c - n) / T(n)) + f, divided by its usual sum; n: the nearest work's cosine.

    Raises:
        InvalidInput: A value is not finite.
    """

    log_temperature: float
    """Logarithm of the temperature T at n = 0."""
    temperature_slope: float
    """Change of log T with n."""
    log_floor: float
    """Logarithm of the floor f."""
    log_sum: float
    """Logarithm of the usual sum over all works at n = 0."""
    sum_slope: float
    """Change of the logarithm of the usual sum with n."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in vars(self).values()):
            raise InvalidInput(
                f"the values of a softmax must be finite; got {self}; fit the calibration again",
                field="softmax",
            )

    def parts(self, cosines: ArrayLike, nearest: ArrayLike) -> NDArray[np.float64]:
        """Expected influence as a part of the query's whole influence.

        Args:
            cosines: (…, N) float.
            nearest: (…, 1) float or a number, the largest cosine of each query.

        Returns:
            (…, N) float64.
        """
        first = np.asarray(nearest, dtype=np.float64)
        depth = (first - np.asarray(cosines, dtype=np.float64)) / self.temperature(first)
        strengths = np.exp(-np.maximum(depth, -_DEEPEST)) + math.exp(self.log_floor)
        found: NDArray[np.float64] = strengths * np.exp(-(self.log_sum + self.sum_slope * first))
        return found

    def temperature(self, nearest: NDArray[np.float64]) -> NDArray[np.float64]:
        """T of queries by the cosines of their nearest works, of any shape."""
        found: NDArray[np.float64] = np.maximum(
            np.exp(self.log_temperature + self.temperature_slope * nearest), _LEAST_TEMPERATURE
        )
        return found

    def curve(self, nearest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Knots of one query's curve: ascending cosines and the parts there, (K,) float64 each."""
        temperature = float(self.temperature(np.array(nearest)))
        lowest, highest = nearest - _DEEPEST * temperature, max(nearest, 1.0)
        cosines = np.linspace(lowest, highest, _KNOTS)
        return cosines, self.parts(cosines, nearest)

    def to_json(self) -> dict[str, float]:
        """The values as a JSON object with the names of the fields as keys."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The softmax that `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(**{name: float(value) for name, value in content.items()})
