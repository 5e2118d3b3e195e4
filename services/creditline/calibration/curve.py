"""The calibration curves of a release: expected influence as a function of the cosine.

There are two curves over the same knots. At low cosines, similarity predicts little: influence is negative as
often as positive, its mean is about 0, and no single work earns credit. Together, those works still have
positive influence: `positive` is the mean of the positive part of the influence, from which the remainder is
computed.

Where a release has a softmax (`calibration.softmax`), it takes the place of both curves for one query.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.calibration.softmax import Softmax
from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Calibration:
    """Piecewise linear, monotone curves from cosine to expected influence, constant beyond the end knots.

    Raises:
        InvalidInput: The knots are not finite, not of equal number or not monotone, or `positive` is
            negative.
    """

    cosine: tuple[float, ...]
    """Cosines of the knots, strictly increasing; at least one."""
    influence: tuple[float, ...]
    """Expected influence at each knot, non-decreasing."""
    positive: tuple[float, ...] = ()
    """Expected positive part of the influence at each knot, non-decreasing and not negative. By default the
    positive part of `influence`, which is exact where the influence at a cosine is certain."""
    softmax: Softmax | None = None
    """Takes the place of the curves where a query's nearest work is known; None: the curves hold for all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cosine", tuple(float(value) for value in self.cosine))
        object.__setattr__(self, "influence", tuple(float(value) for value in self.influence))
        positive = self.positive or tuple(max(value, 0.0) for value in self.influence)
        object.__setattr__(self, "positive", tuple(float(value) for value in positive))
        self._check()

    def _check(self) -> None:
        counts = {len(self.cosine), len(self.influence), len(self.positive)}
        if len(counts) > 1 or not self.cosine:
            raise InvalidInput(
                "a calibration needs equally many cosines, influences and positive parts, at least one each;"
                f" got {len(self.cosine)}, {len(self.influence)} and {len(self.positive)}; fit it again",
                field="calibration",
            )
        if not np.isfinite([*self.cosine, *self.influence, *self.positive]).all():
            raise InvalidInput(
                "the knots of a calibration must be finite numbers; fit it again", field="calibration"
            )
        if np.any(np.diff(self.cosine) <= 0):
            raise InvalidInput(
                "the cosines of a calibration must be strictly increasing; fit it again", field="cosine"
            )
        for field in ("influence", "positive"):
            if np.any(np.diff(getattr(self, field)) < 0):
                raise InvalidInput(
                    f"the values of {field} in a calibration must not decrease; fit it again", field=field
                )
        if self.positive[0] < 0.0:
            raise InvalidInput(
                f"the positive part of a calibration starts at {self.positive[0]:g}, below 0; fit it again",
                field="positive",
            )

    def for_query(self, nearest: float) -> Calibration:
        """The curves for one query.

        Args:
            nearest: Cosine of the work that is nearest to the query.
        """
        if self.softmax is None:
            return self
        cosines, parts = self.softmax.curve(nearest)
        # Rounding must not let the curve fall in its flat part.
        knots = tuple(np.maximum.accumulate(parts).tolist())
        return Calibration(tuple(cosines.tolist()), knots, knots)

    def of_queries(self, cosines: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expected influence and its expected positive part, of all works on each query.

        Args:
            cosines: (Q, N) float32, of Q queries with all N works.

        Returns:
            (Q, N) float64 each.
        """
        if self.softmax is None:
            return self.expected_influence(cosines), self.expected_positive(cosines)
        parts = self.softmax.parts(cosines, cosines.max(axis=1, keepdims=True))
        return parts, parts

    def expected_influence(self, cosines: ArrayLike) -> NDArray[np.float64]:
        """Expected influence at each cosine.

        Args:
            cosines: (N,) float.

        Returns:
            (N,) float64.
        """
        return np.interp(np.asarray(cosines, dtype=np.float64), self._knots[0], self._knots[1])

    def expected_positive(self, cosines: ArrayLike) -> NDArray[np.float64]:
        """Expected positive part of the influence at each cosine.

        Args:
            cosines: (N,) float.

        Returns:
            (N,) float64.
        """
        return np.interp(np.asarray(cosines, dtype=np.float64), self._knots[0], self._knots[2])

    @cached_property
    def _knots(self) -> NDArray[np.float64]:
        """(3, K) cosines, influences and positive parts; their conversion takes longer than a few cosines."""
        return np.array([self.cosine, self.influence, self.positive])

    def to_json(self) -> str:
        """The knots as JSON: `{"cosine": [...], "influence": [...], "positive": [...]}`, and `softmax`."""
        knots: dict[str, Any] = {
            "cosine": self.cosine,
            "influence": self.influence,
            "positive": self.positive,
        }
        if self.softmax is not None:
            knots["softmax"] = self.softmax.to_json()
        return json.dumps(knots)

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibration:
        """Parse the output of `to_json`.

        Raises:
            InvalidInput: The text is not a calibration.
        """
        try:
            knots = json.loads(text)
            cosine, influence, positive = (
                tuple(map(float, part))
                for part in (knots["cosine"], knots["influence"], knots.get("positive", ()))
            )
            softmax = Softmax.from_json(knots["softmax"]) if "softmax" in knots else None
            return cls(cosine, influence, positive, softmax)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"the text is not a calibration ({error}); it needs number lists 'cosine' and 'influence'",
                field="calibration",
            ) from error
