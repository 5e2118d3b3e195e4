"""Between which values the truth lies: a work's influence given its cosine, and sums over many works."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Intervals:
    """A band over cosines that holds `coverage` of all works; straight between knots, flat beyond the ends.

    cosine: strictly rising; low, high: the band there, low never above high. Raises InvalidInput when they
    are not so.
    """

    cosine: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    coverage: float

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
        if not 0.0 < self.coverage < 1.0:
            raise InvalidInput(f"a level lies between 0 and 1, not at {self.coverage}", field="level")

    def of(self, cosines: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ends of the band at each cosine, in its shape."""
        low, high = (
            np.interp(np.asarray(cosines, dtype=np.float64), self.cosine, ends)
            for ends in (self.low, self.high)
        )
        return low, high


# A sum of which next to nothing is expected has some width all the same.
_LEAST_SPREAD = 1e-4
# Standard errors to either side that hold 90 of 100 normal deviates.
_ERRORS = 1.645


@dataclass(frozen=True)
class Stretch:
    """How far a sum of works' parts lies from what is expected of it, low and high, in units of its spread.

    A sum of which p is expected spreads by about √(p (1 − p)). Raises InvalidInput when low is above high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low <= self.high):
            raise InvalidInput(
                f"a stretch from {self.low} to {self.high} is none; fit it again", field="intervals"
            )

    def of(self, expected: float, *, error: float = 0.0) -> tuple[float, float]:
        """The ends about an expected part, which they hold, between 0 and 1.

        error: standard error of the expected part itself.
        """
        unit = float(spread(expected))
        below, above = (
            math.hypot(unit * end, _ERRORS * error) for end in (min(self.low, 0.0), max(self.high, 0.0))
        )
        return max(expected - below, 0.0), min(expected + above, 1.0)


def spread(expected: ArrayLike) -> NDArray[np.float64]:
    """About how far sums spread of which parts of a whole are expected, in their shape."""
    part = np.clip(np.asarray(expected, dtype=np.float64), 0.0, 1.0)
    found: NDArray[np.float64] = np.sqrt(part * (1.0 - part) + _LEAST_SPREAD)
    return found


@dataclass(frozen=True)
class AnswerIntervals:
    """How sure an answer is: of each work, of what remains for all others, of a contributor's sum."""

    works: Intervals
    remainder: Stretch
    contributors: Stretch

    @property
    def coverage(self) -> float:
        """The part of answers whose truth lies within, such as 0.9."""
        return self.works.coverage

    def to_json(self) -> str:
        """`{"level": 0.9, "works": {...}, "remainder": {...}, "contributors": {...}}`."""
        works = {name: getattr(self.works, name) for name in ("cosine", "low", "high")}
        sums = {name: vars(getattr(self, name)) for name in ("remainder", "contributors")}
        return json.dumps({"level": self.coverage, "works": works, **sums})

    @classmethod
    def from_json(cls, text: str | bytes) -> AnswerIntervals:
        """Read what `to_json` wrote. Raises InvalidInput when it is something else."""
        try:
            content = json.loads(text)
            names = ("cosine", "low", "high")
            cosine, low, high = (tuple(map(float, content["works"][name])) for name in names)
            works = Intervals(cosine, low, high, float(content["level"]))
            return cls(works, Stretch(**content["remainder"]), Stretch(**content["contributors"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"no intervals ({error}); they need a 'level', 'works' with 'cosine', 'low' and 'high', and"
                " 'remainder' and 'contributors' with 'low' and 'high'",
                field="intervals",
            ) from error
