"""The calibration of a release: which influence is to be expected at a cosine."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Calibration:
    """Monotone knots from cosine to expected influence, joined by straight lines, flat beyond the ends.

    cosine: strictly rising; influence: never falling, of the same length (at least one knot).
    Raises InvalidInput when the knots are not so.
    """

    cosine: tuple[float, ...]
    influence: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "cosine", tuple(float(value) for value in self.cosine))
        object.__setattr__(self, "influence", tuple(float(value) for value in self.influence))
        self._check()

    def _check(self) -> None:
        if len(self.cosine) != len(self.influence) or not self.cosine:
            raise InvalidInput(
                f"a calibration needs as many cosines as influences, at least one; got {len(self.cosine)} "
                f"and {len(self.influence)}; fit it again",
                field="calibration",
            )
        if not np.isfinite([*self.cosine, *self.influence]).all():
            raise InvalidInput("a calibration's knots must be finite; fit it again", field="calibration")
        if np.any(np.diff(self.cosine) <= 0):
            raise InvalidInput("a calibration's cosines must rise strictly; fit it again", field="cosine")
        if np.any(np.diff(self.influence) < 0):
            raise InvalidInput("a calibration's influences must not fall; fit it again", field="influence")

    def expected_influence(self, cosines: ArrayLike) -> NDArray[np.float64]:
        """Expected influence at each cosine. cosines: (N,). Returns (N,) float64."""
        return np.interp(np.asarray(cosines, dtype=np.float64), self.cosine, self.influence)

    def to_json(self) -> str:
        """The knots as `{"cosine": [...], "influence": [...]}`."""
        return json.dumps({"cosine": self.cosine, "influence": self.influence})

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibration:
        """Read what `to_json` wrote. Raises InvalidInput when it is something else."""
        try:
            knots = json.loads(text)
            return cls(tuple(map(float, knots["cosine"])), tuple(map(float, knots["influence"])))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"not a calibration ({error}); it needs lists of numbers 'cosine' and 'influence'",
                field="calibration",
            ) from error
