"""The proxy game and its surrogate, against Shapley values by their definition."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.attribution.groups.proxy_game import Pooling, ProxyGame, draw_coalitions, players_of
from creditline.attribution.groups.surrogate import Surrogate, TreeSettings
from creditline.errors import InvalidInput

_PLAYERS = ((0, 3), (1,), (2, 4, 5), (6,))
_POOLINGS = (Pooling(0.0), Pooling(2.0), Pooling(0.0, counted=True), Pooling(2.0, counted=True))


def game(pooling: Pooling) -> ProxyGame:
    return ProxyGame(np.random.default_rng(4).normal(size=7), -0.3, _PLAYERS, pooling)


def all_coalitions(players: int) -> NDArray[np.bool_]:
    return np.array(
        [[number >> player & 1 for player in range(players)] for number in range(2**players)], bool
    )


def shapley_by_definition(values: NDArray[np.float64], players: int) -> NDArray[np.float64]:
    """Shapley values from the values of all coalitions, indexed by their members' bits."""
    found = np.zeros(players)
    for player in range(players):
        others = [other for other in range(players) if other != player]
        for size in range(players):
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            for members in combinations(others, size):
                number = sum(1 << member for member in members)
                found[player] += weight * (values[number | 1 << player] - values[number])
    return found


@pytest.mark.parametrize("pooling", _POOLINGS)
def test_permutation_values_approach_shapley_values_and_sum_to_the_whole(pooling: Pooling) -> None:
    played = game(pooling)
    values = played.values(all_coalitions(4))
    expected = shapley_by_definition(values, 4)
    found = played.permutation_values(2000, seed=1)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert found.sum() == pytest.approx(values[-1] - values[0])


def test_a_coalitions_value_is_pooled_over_its_works_alone() -> None:
    coalition = np.array([[False, True, True, False]])
    works = [1, 2, 4, 5]
    utilities = game(_POOLINGS[0]).utilities
    beta = 2.0 / utilities.std()
    mean, soft, total, counted = (float(game(pooling).values(coalition)[0]) for pooling in _POOLINGS)
    assert mean == pytest.approx(utilities[works].mean() + 0.3)
    assert total == pytest.approx((utilities[works] + 0.3).sum())
    powers = np.exp(beta * (utilities[works] + 0.3))
    assert soft == pytest.approx(np.log(powers.mean()) / beta)
    assert counted == pytest.approx(np.log1p(powers.sum()) / beta)
    assert mean < soft < utilities[works].max() + 0.3


def test_the_trees_values_are_the_shapley_values_of_what_they_learned() -> None:
    coalitions = all_coalitions(4)
    surrogate = Surrogate.fit(
        coalitions, game(Pooling(2.0)).values(coalitions), TreeSettings(trees=40, depth=3), seed=2
    )
    expected = shapley_by_definition(surrogate.values(coalitions), 4)
    np.testing.assert_allclose(surrogate.shapley_values(), expected, atol=1e-9)
    assert np.abs(expected).min() > 1e-3


def test_coalitions_are_drawn_with_their_complements_and_are_small_or_large() -> None:
    drawn = draw_coalitions(20, 400, seed=5)
    assert not drawn[0].any()
    assert drawn[1].all()
    np.testing.assert_array_equal(drawn[2::2], ~drawn[3::2])
    sizes = drawn[2:].sum(axis=1)
    assert (sizes >= 1).all()
    assert (sizes <= 19).all()
    # The kernel gives each of the sizes 1 and 19 a sixth of all coalitions, size 10 a thirtieth.
    assert np.isin(sizes, (1, 19)).mean() > 3 * (sizes == 10).mean()


def test_players_are_all_contributors_the_named_ones_first() -> None:
    names, rows = players_of(["b", "a", "c", "b"], ["c"])
    assert names == ("c", "a", "b")
    assert rows == ((2,), (1,), (0, 3))


def test_games_without_works_or_with_utilities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'d' has no work"):
        players_of(["a"], ["d"])
    with pytest.raises(InvalidInput, match="player 1 has no work"):
        ProxyGame(np.zeros(2), 0.0, ((0, 1), ()), Pooling(0.0))
    with pytest.raises(InvalidInput, match="must be finite"):
        ProxyGame(np.array([0.0, np.nan]), 0.0, ((0, 1),), Pooling(0.0))
