"""One unit for all methods: by how much a query's loss is expected to rise when a work is left out.

Scores of a method are ranks, ratios or differences of losses, and add up to nothing. Mapped to expected ΔL
they do: what several works owe together is the sum. The map is fitted where models were really retrained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.consensus import standardised
from creditline.errors import InvalidInput

# In deviations of a query's scores over the works. Below the first, a work owes no more than any other.
KNOTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0)


@dataclass(frozen=True)
class ExpectedChange:
    """A monotone map from a query's standardised scores to ΔL, in parts of the loss; straight between knots.

    knots: strictly rising; heights: ΔL there beyond `common`, from 0 and never falling; common: the ΔL of any
    work, even of one that has nothing to do with the query; spread: what a query's scores usually vary by: a
    query whose scores vary less is told apart less. Raises InvalidInput when they are not so.
    """

    knots: tuple[float, ...]
    heights: tuple[float, ...]
    common: float = 0.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        if len(self.knots) != len(self.heights) or len(self.knots) < 2:
            raise InvalidInput(
                f"{len(self.knots)} knots and {len(self.heights)} heights make no map; give as many, from 2"
            )
        if np.any(np.diff(self.knots) <= 0) or np.any(np.diff(self.heights) < 0) or self.heights[0] != 0:
            raise InvalidInput("knots must rise and heights must not fall, from 0; fit the map again")
        if not np.isfinite([*self.knots, *self.heights, self.common, self.spread]).all():
            raise InvalidInput("a map's numbers must be finite; fit it again")

    def excess(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """ΔL beyond what any work is worth: (Q, N) -> (Q, N), none below 0."""
        values: NDArray[np.float64] = np.interp(
            standardised(scores, spread=self.spread), self.knots, self.heights
        )
        return values

    def of(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """ΔL of leaving each work out: (Q, N) -> (Q, N)."""
        return self.common + self.excess(scores)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ExpectedChange:
        return cls(
            tuple(content["knots"]),
            tuple(content["heights"]),
            float(content["common"]),
            float(content["spread"]),
        )
