"""A common unit for all methods: the expected rise of a query's loss when a work is left out of training.

Scores of a method are ranks, ratios or differences of losses, so their sums have no meaning. Expected changes
of loss ΔL are additive: the influence of several works together is the sum of their ΔL. The map from scores
to ΔL is fitted on models that were retrained without the works.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.consensus import standardised
from creditline.errors import InvalidInput

# In standard deviations of a query's scores over the works. Below the first knot all works have the same ΔL.
KNOTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0)


@dataclass(frozen=True)
class ExpectedChange:
    """A monotone, piecewise linear map from a query's standardised scores to ΔL as a part of its loss.

    Raises:
        InvalidInput: The knots do not rise, the heights fall or do not start at 0, their numbers differ or
            are below 2, or a value is not finite.
    """

    knots: tuple[float, ...]
    """Standardised scores at which the slope may change, strictly rising, 2 or more."""
    heights: tuple[float, ...]
    """ΔL above `common` at each knot, starting at 0 and never falling."""
    common: float = 0.0
    """ΔL of every work, including works that are unrelated to the query."""
    spread: float = 0.0
    """Usual standard deviation of a query's scores over the works, the lower bound in `standardised`: the
    works of a query whose scores vary less are mapped closer together."""

    def __post_init__(self) -> None:
        if len(self.knots) != len(self.heights) or len(self.knots) < 2:
            raise InvalidInput(
                f"a map cannot have {len(self.knots)} knots and {len(self.heights)} heights; give the same"
                " number of each, 2 or more"
            )
        if np.any(np.diff(self.knots) <= 0) or np.any(np.diff(self.heights) < 0) or self.heights[0] != 0:
            raise InvalidInput(
                f"knots must rise, and heights must start at 0 and not fall; got knots {self.knots} and"
                f" heights {self.heights}; fit the map again"
            )
        if not np.isfinite([*self.knots, *self.heights, self.common, self.spread]).all():
            raise InvalidInput(f"the values of a map must be finite; got {self}; fit the map again")

    def excess(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """ΔL of each work above `common`, 0 or more: (Q, N) -> (Q, N)."""
        values: NDArray[np.float64] = np.interp(
            standardised(scores, spread=self.spread), self.knots, self.heights
        )
        return values

    def of(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expected ΔL when each work is left out: (Q, N) -> (Q, N)."""
        return self.common + self.excess(scores)

    def to_json(self) -> dict[str, Any]:
        """The map as a JSON object with the names of the fields as keys."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ExpectedChange:
        """The map that `to_json` wrote."""
        return cls(
            tuple(content["knots"]),
            tuple(content["heights"]),
            float(content["common"]),
            float(content["spread"]),
        )
