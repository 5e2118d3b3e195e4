"""The calibration of a release: which influence is to be expected at a cosine.

Two curves over the same knots. Influence is as often negative as positive where likeness says little: there
its mean is about 0, and no single work earns anything. All those works together do hold positive influence,
though: `positive` is the mean of the positive part, and what the remainder is made of.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Calibration:
    """Monotone knots from cosine to expected influence, joined by straight lines, flat beyond the ends.

    cosine: strictly rising; influence: never falling, of the same length (at least one knot); positive: the
    expected positive part, never falling nor below 0 (by default the positive part of `influence`, which is
    right where there is no doubt). Raises InvalidInput when the knots are not so.
    """

    cosine: tuple[float, ...]
    influence: tuple[float, ...]
    positive: tuple[float, ...] = ()

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
                f"a calibration needs as many cosines as influences, at least one; got {len(self.cosine)},"
                f" {len(self.influence)} and {len(self.positive)} positive parts; fit it again",
                field="calibration",
            )
        if not np.isfinite([*self.cosine, *self.influence, *self.positive]).all():
            raise InvalidInput("a calibration's knots must be finite; fit it again", field="calibration")
        if np.any(np.diff(self.cosine) <= 0):
            raise InvalidInput("a calibration's cosines must rise strictly; fit it again", field="cosine")
        for field in ("influence", "positive"):
            if np.any(np.diff(getattr(self, field)) < 0):
                raise InvalidInput(f"a calibration's {field} must not fall; fit it again", field=field)
        if self.positive[0] < 0.0:
            raise InvalidInput(
                f"a positive part of {self.positive[0]:g} cannot be; fit the calibration again",
                field="positive",
            )

    def expected_influence(self, cosines: ArrayLike) -> NDArray[np.float64]:
        """Expected influence at each cosine. cosines: (N,). Returns (N,) float64."""
        return np.interp(np.asarray(cosines, dtype=np.float64), self.cosine, self.influence)

    def expected_positive(self, cosines: ArrayLike) -> NDArray[np.float64]:
        """Expected positive part of the influence at each cosine. cosines: (N,). Returns (N,) float64."""
        return np.interp(np.asarray(cosines, dtype=np.float64), self.cosine, self.positive)

    def to_json(self) -> str:
        """The knots as `{"cosine": [...], "influence": [...], "positive": [...]}`."""
        return json.dumps({"cosine": self.cosine, "influence": self.influence, "positive": self.positive})

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibration:
        """Read what `to_json` wrote. Raises InvalidInput when it is something else."""
        try:
            knots = json.loads(text)
            parts = (knots["cosine"], knots["influence"], knots.get("positive", ()))
            return cls(*(tuple(map(float, part)) for part in parts))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"not a calibration ({error}); it needs lists of numbers 'cosine' and 'influence'",
                field="calibration",
            ) from error
