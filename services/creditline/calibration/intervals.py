"""Prediction intervals: of a work's influence given its cosine, and of sums over many works."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Intervals:
    """A prediction band over cosines, piecewise linear, constant beyond the end knots.

    Raises:
        InvalidInput: The values are not finite, not of equal number or not ordered, or the coverage is not
            between 0 and 1.
    """

    cosine: tuple[float, ...]
    """Cosines of the knots, strictly increasing; at least one."""
    low: tuple[float, ...]
    """Low end of the band at each knot."""
    high: tuple[float, ...]
    """High end of the band at each knot, never below `low`."""
    coverage: float
    """Fraction of all works whose influence lies in the band, between 0 and 1 exclusive."""

    def __post_init__(self) -> None:
        if len({len(self.cosine), len(self.low), len(self.high)}) > 1 or not self.cosine:
            raise InvalidInput(
                f"{len(self.cosine)} cosines, {len(self.low)} lower and {len(self.high)} upper bounds make no"
                " band, which needs one of each for every knot; fit it again",
                field="intervals",
            )
        if not np.isfinite([*self.cosine, *self.low, *self.high]).all():
            raise InvalidInput("the numbers of a band must be finite; fit it again", field="intervals")
        if np.any(np.diff(self.cosine) <= 0):
            raise InvalidInput("the cosines of a band must rise strictly; fit it again", field="cosine")
        if np.any(np.array(self.low) > np.array(self.high)):
            raise InvalidInput("the low end of a band is above its high end; fit it again", field="intervals")
        if not 0.0 < self.coverage < 1.0:
            raise InvalidInput(
                f"the coverage of a band is {self.coverage}, but must be between 0 and 1; fit it again",
                field="level",
            )

    def of(self, cosines: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper bounds at each cosine, float64 arrays of the shape of `cosines`."""
        at, (knots, low, high) = np.asarray(cosines, dtype=np.float64), self._knots
        return np.interp(at, knots, low), np.interp(at, knots, high)

    @cached_property
    def _knots(self) -> NDArray[np.float64]:
        """(3, K) cosines, low and high ends; their conversion takes longer than a few cosines."""
        return np.array([self.cosine, self.low, self.high])


# Variance that every sum has at least, so that an interval about an expectation near 0 has some width.
_VARIANCE_FLOOR = 1e-4
# Half-width, in standard errors, of the interval that contains 90 % of a normal distribution.
_STANDARD_ERRORS = 1.645


@dataclass(frozen=True)
class DeviationInterval:
    """Interval of the deviation of a sum of works' parts from its expectation, in units of its spread.

    A sum with expectation p has a spread of about √(p (1 − p)).

    Raises:
        InvalidInput: A bound is not finite, or `low` is above `high`.
    """

    low: float
    """Lower bound of the deviation, in units of `spread`."""
    high: float
    """Upper bound of the deviation, in units of `spread`."""

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low <= self.high):
            raise InvalidInput(
                f"the deviation of a sum cannot range from {self.low} to {self.high}; fit it again",
                field="intervals",
            )

    def of(self, expected: float, *, error: float = 0.0) -> tuple[float, float]:
        """Lower and upper bound of a sum, both in [0, 1], with the expectation between them.

        Args:
            expected: Expectation of the sum, as a part of the whole.
            error: Standard error of `expected` itself.
        """
        part = min(max(expected, 0.0), 1.0)
        unit = math.sqrt(part * (1.0 - part) + _VARIANCE_FLOOR)
        below, above = (
            math.hypot(unit * end, _STANDARD_ERRORS * error)
            for end in (min(self.low, 0.0), max(self.high, 0.0))
        )
        return max(expected - below, 0.0), min(expected + above, 1.0)


def spread(expected: ArrayLike) -> NDArray[np.float64]:
    """Approximate spread of sums with the given expectations.

    Args:
        expected: Expected parts of the whole, of any shape.

    Returns:
        √(p (1 − p)), with a floor under the variance, float64 of the same shape.
    """
    part = np.clip(np.asarray(expected, dtype=np.float64), 0.0, 1.0)
    deviations: NDArray[np.float64] = np.sqrt(part * (1.0 - part) + _VARIANCE_FLOOR)
    return deviations


@dataclass(frozen=True)
class AnswerIntervals:
    """The intervals of all numbers in an answer."""

    works: Intervals
    """Intervals of the influence of single works."""
    remainder: DeviationInterval
    """Interval of the share of all works that are not listed."""
    contributors: DeviationInterval
    """Interval of the share of a contributor."""
    by_nearest: tuple[KindOfQueries, ...] = ()
    """Intervals of kinds of queries, by ascending cosine of the nearest work; empty: one kind. A query whose
    nearest work is below the first has no intervals: those that they were fitted on were all nearer."""

    def __post_init__(self) -> None:
        if sorted(kind.nearest for kind in self.by_nearest) != [kind.nearest for kind in self.by_nearest]:
            raise InvalidInput(
                "kinds of queries must have ascending cosines; fit the intervals again", field="intervals"
            )

    @property
    def coverage(self) -> float:
        """Fraction of the true values that lie in their intervals, such as 0.9."""
        return self.works.coverage

    def for_query(self, nearest: float) -> AnswerIntervals | None:
        """The intervals of a query; None where it is unlike all that intervals were fitted on.

        Args:
            nearest: Cosine of the work that is nearest to the query.
        """
        if not self.by_nearest:
            return self
        fitting = [kind.intervals for kind in self.by_nearest if kind.nearest <= nearest]
        return fitting[-1] if fitting else None

    def to_json(self) -> str:
        """The intervals as JSON: `{"level": 0.9, "works": {}, "remainder": {}, "contributors": {}}`.

        With kinds of queries, `by_nearest` lists the same of each, with `nearest`.
        """
        content = self._content()
        if self.by_nearest:
            content["by_nearest"] = [
                {"nearest": kind.nearest, **kind.intervals._content()} for kind in self.by_nearest
            ]
        return json.dumps(content)

    def _content(self) -> dict[str, Any]:
        works = {name: getattr(self.works, name) for name in ("cosine", "low", "high")}
        sums = {name: dict(vars(getattr(self, name))) for name in ("remainder", "contributors")}
        return {"level": self.coverage, "works": works, **sums}

    @classmethod
    def from_json(cls, text: str | bytes) -> AnswerIntervals:
        """Parse the output of `to_json`.

        Raises:
            InvalidInput: The text does not contain intervals.
        """
        try:
            content = json.loads(text)
            kinds = tuple(
                KindOfQueries(float(kind["nearest"]), cls._read(kind))
                for kind in content.get("by_nearest", ())
            )
            return cls._read(content, kinds)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                f"the text does not contain intervals ({error}); they need a 'level', 'works' with 'cosine',"
                " 'low' and 'high', and 'remainder' and 'contributors' with 'low' and 'high'",
                field="intervals",
            ) from error

    @classmethod
    def _read(cls, content: Mapping[str, Any], kinds: tuple[KindOfQueries, ...] = ()) -> AnswerIntervals:
        cosine, low, high = (tuple(map(float, content["works"][name])) for name in ("cosine", "low", "high"))
        works = Intervals(cosine, low, high, float(content["level"]))
        remainder, contributors = (
            DeviationInterval(**content[name]) for name in ("remainder", "contributors")
        )
        return cls(works, remainder, contributors, kinds)


@dataclass(frozen=True)
class KindOfQueries:
    """Intervals of queries whose nearest work has at least a certain cosine."""

    nearest: float
    """The least cosine of the nearest work."""
    intervals: AnswerIntervals
    """Their intervals."""
