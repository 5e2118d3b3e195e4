"""Shares divide between picture and prompt as Shapley values; calibrations of halves survive their file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.calibration import Calibration
from creditline.calibration.halves import Halves, PictureRecall, divided
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals
from creditline.errors import InvalidInput

_SHARES = st.floats(0.0, 1.0)


def _shapley(worth: Callable[[frozenset[str]], float], players: tuple[str, ...]) -> dict[str, float]:
    """By the definition: the mean over all orders of what each player adds to those before it."""
    values = dict.fromkeys(players, 0.0)
    for order in itertools.permutations(players):
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            values[player] += (worth(before | {player}) - worth(before)) / math.factorial(len(players))
    return values


@given(share=_SHARES, picture=_SHARES, prompt=_SHARES)
def test_parts_are_shapley_values_and_sum_to_the_share(share: float, picture: float, prompt: float) -> None:
    worth = {
        frozenset[str](): 0.0,
        frozenset({"picture"}): picture,
        frozenset({"prompt"}): prompt,
        frozenset({"picture", "prompt"}): share,
    }
    from_picture, from_prompt = divided(np.array([share]), np.array([picture]), np.array([prompt]))
    expected = _shapley(worth.__getitem__, ("picture", "prompt"))
    assert float(from_picture[0]) == pytest.approx(expected["picture"], abs=1e-12)
    assert float(from_prompt[0]) == pytest.approx(expected["prompt"], abs=1e-12)
    assert float(from_picture[0] + from_prompt[0]) == pytest.approx(share, abs=1e-12)


def test_calibrations_of_halves_come_back_from_their_json() -> None:
    intervals = AnswerIntervals(
        Intervals((0.0, 1.0), (0.0, 0.1), (0.2, 0.6), 0.9), DeviationInterval(-1, 1), DeviationInterval(-2, 2)
    )
    halves = Halves(
        Calibration((0.0, 1.0), (0.0, 0.5)),
        Calibration((0.0, 1.0), (-0.1, 0.7)),
        intervals,
        PictureRecall(0.22, 0.2, 0.24, 0.5),
        "a" * 64,
    )
    assert Halves.from_json(halves.to_json()) == halves
    for broken in ("", "[]", "{}", halves.to_json().replace('"recall"', '"another"')):
        with pytest.raises(InvalidInput, match="fit them again"):
            Halves.from_json(broken)
