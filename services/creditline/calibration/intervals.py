"""Between which values a work's influence lies, given its cosine: how sure an answer is of a single work."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Intervals:
    """A band over cosines that holds `level` of all works; straight between knots, flat beyond the ends.

    cosine: strictly rising; low, high: the band there, low never above high. Raises InvalidInput when they
    are not so.
    """

    cosine: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    level: float

    def __post_init__(self) -> None:
        if len({len(self.cosine), len(self.low), len(self.high)}) > 1 or not self.cosine:
            raise InvalidInput(
                f"{len(self.cosine)} cosines, {len(self.low)} low and {len(self.high)} high ends make no"
                " band; fit it again",
                field="intervals",
            )
        if not np.isfinite([*self.cosine, *self.low, *self.high]).all():
            raise InvalidInput("a band's numbers must be finite; fit it again", field="intervals")
        if np.any(np.diff(self.cosine) <= 0):
            raise InvalidInput("a band's cosines must rise strictly; fit it again", field="cosine")
        if np.any(np.array(self.low) > np.array(self.high)):
            raise InvalidInput("a band's low end lies above its high one; fit it again", field="intervals")
        if not 0.0 < self.level < 1.0:
            raise InvalidInput(f"a level lies between 0 and 1, not at {self.level}", field="level")

    def of(self, cosines: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ends of the band at each cosine, in its shape."""
        low, high = (
            np.interp(np.asarray(cosines, dtype=np.float64), self.cosine, ends)
            for ends in (self.low, self.high)
        )
        return low, high

    def to_json(self) -> str:
        """`{"cosine": [...], "low": [...], "high": [...], "level": 0.9}`."""
        return json.dumps({"cosine": self.cosine, "low": self.low, "high": self.high, "level": self.level})

    @classmethod
    def from_json(cls, text: str | bytes) -> Intervals:
        """Read what `to_json` wrote. Raises InvalidInput when it is something else."""
        try:
            knots = json.loads(text)
            cosine, low, high = (tuple(map(float, knots[name])) for name in ("cosine", "low", "high"))
            return cls(cosine, low, high, float(knots["level"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"not a band ({error}); it needs lists of numbers 'cosine', 'low' and 'high', and a 'level'",
                field="intervals",
            ) from error
