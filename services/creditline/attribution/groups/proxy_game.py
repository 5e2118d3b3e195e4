"""SurrogateSHAP's proxy game for one picture (arXiv 2601.22276), and its coalitions.

The players are contributors. Training without a contributor is replaced by inference without the
contributor's conditions: a coalition owns the captions of its members' works, and the generator is only given
those. The paper values a coalition by a property of all its pictures, such as their FID. Here the question is
whom *one* picture owes, so a coalition is worth what its conditions make of this picture. The utility u of a
condition is the picture's negative loss under it, or the similarity of the picture that the generator makes
under it. A coalition whose works have the n conditions S pools their utilities,

    v(S) = 1/β · log(1/n · Σ_{i in S} exp(β u_i)),

which is their mean for β → 0, as if the generator were given one of the captions at random (the paper's
case), and the best of them for β → ∞. `counted` leaves out the division by n, so that more works are worth
more. A coalition without works has the value of the empty prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class Pooling:
    """How the utilities of a coalition's works become its value."""

    sharpness: float
    """β in units of the reciprocal standard deviation of a query's utilities; 0: the mean."""
    counted: bool = False
    """Whether the sum over works is pooled in place of their mean."""


@dataclass(frozen=True)
class ProxyGame:
    """The game of one query; all values are relative to that of the empty coalition, which is 0.

    Raises:
        InvalidInput: A utility is NaN or infinite, or a player has no work.
    """

    utilities: NDArray[np.float64]
    """(N,) float64, utility of each work's condition."""
    empty: float
    """Utility of the empty prompt."""
    players: tuple[tuple[int, ...], ...]
    """Rows of the works of each of the G players."""
    pooling: Pooling
    """How utilities become a coalition's value."""

    def __post_init__(self) -> None:
        if not np.isfinite([*self.utilities, self.empty]).all():
            raise InvalidInput("a proxy game's utilities must be finite numbers; compute them again")
        if not all(self.players):
            number = next(number for number, rows in enumerate(self.players) if not rows)
            raise InvalidInput(f"player {number} has no work; leave it out")

    def values(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Value of each coalition.

        Args:
            coalitions: (M, G) bool, true for the members.

        Returns:
            (M,) float64.
        """
        weights, counts = self._player_sums
        return self._pooled(coalitions @ weights, coalitions @ counts)

    def permutation_values(self, permutations: int, seed: int) -> NDArray[np.float64]:
        """Shapley values by the mean marginal contribution over random orders and their reverses.

        This game is cheap to play, so its values can be had without a surrogate; they show which errors are
        the game's, and which the trees'.

        Args:
            permutations: Number of random orders.
            seed: Seed of the orders.

        Returns:
            (G,) float64; they sum to the value of all players.
        """
        random = np.random.default_rng(seed)
        players = np.arange(len(self.players))
        orders = random.permuted(np.tile(players, (permutations, 1)), axis=1)
        both = np.concatenate([orders, orders[:, ::-1]])
        weights, counts = self._player_sums
        values = self._pooled(np.cumsum(weights[both], axis=1), np.cumsum(counts[both], axis=1))
        marginals = np.diff(values, axis=1, prepend=0.0)
        return np.bincount(both.ravel(), marginals.ravel(), minlength=len(players)) / len(both)

    @property
    def _player_sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """By player, the sum over works of what is pooled, and the number of works: (G,) each."""
        pooled = self.utilities - self.empty
        if self.pooling.sharpness > 0.0:
            pooled = np.exp(self._beta * pooled)
        sums = np.array([pooled[list(rows)].sum() for rows in self.players])
        return sums, np.array([float(len(rows)) for rows in self.players])

    @property
    def _beta(self) -> float:
        spread = float(self.utilities.std())
        return self.pooling.sharpness / spread if spread > 0.0 else 0.0

    def _pooled(self, sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values from sums over works; the empty coalition has the value 0."""
        divisor = np.ones_like(counts) if self.pooling.counted else np.maximum(counts, 1.0)
        if self.pooling.sharpness == 0.0 or self._beta == 0.0:
            return sums / divisor
        # Counted, the empty prompt stands beside the works' conditions, so that no coalition is worth log 0.
        beside = 1.0 if self.pooling.counted else 0.0
        with np.errstate(divide="ignore"):
            values = np.log(sums / divisor + beside) / self._beta
        return np.where(counts > 0.0, values, 0.0)


def draw_coalitions(players: int, count: int, seed: int) -> NDArray[np.bool_]:
    """Coalitions with sizes by the Shapley kernel, each with its complement, after the empty and whole ones.

    Args:
        players: Number of players G, at least 2.
        count: Number of coalitions, at least 2.
        seed: Seed of the coalitions.

    Returns:
        (count, G) bool.
    """
    if players < 2 or count < 2:
        raise InvalidInput(f"a game needs 2 players and 2 coalitions; got {players} and {count}")
    random = np.random.default_rng(seed)
    sizes = np.arange(1, players)
    kernel = 1.0 / (sizes * (players - sizes))
    drawn = np.zeros((count, players), dtype=bool)
    drawn[1] = True
    for place, size in zip(
        _pairs(count), random.choice(sizes, size=count, p=kernel / kernel.sum()), strict=False
    ):
        drawn[place, random.permutation(players)[:size]] = True
        if place + 1 < count:
            drawn[place + 1] = ~drawn[place]
    return drawn


def _pairs(count: int) -> Iterator[int]:
    yield from range(2, count, 2)


def players_of(
    contributors: Sequence[str], first: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """All contributors as players, those named first, the others by name: names and rows of works.

    Args:
        contributors: Contributor of each work.
        first: Contributors that come first, in this order.

    Raises:
        InvalidInput: A named contributor has no work.
    """
    rows: dict[str, list[int]] = {name: [] for name in (*first, *sorted(set(contributors) - set(first)))}
    for row, name in enumerate(contributors):
        rows[name].append(row)
    for name, works in rows.items():
        if not works:
            raise InvalidInput(f"contributor {name!r} has no work; leave it out", field="contributor")
    return tuple(rows), tuple(tuple(works) for works in rows.values())
