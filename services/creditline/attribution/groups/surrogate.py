"""Boosted trees that learn a game's value, and Shapley values that are read off the trees exactly.

SurrogateSHAP (arXiv 2601.22276) fits gradient-boosted trees to the values of sampled coalitions, and computes
the Shapley values of the trees, with all players absent as the baseline. Each leaf of a tree is a game of its
own, worth its value w if all players of a set P are present and all of a set A are absent. Its Shapley values
are

    w · (|P| − 1)! |A|! / (|P| + |A|)!   for each player in P, and
    − w · |P|! (|A| − 1)! / (|P| + |A|)!  for each player in A;

the values of all trees are sums over leaves, by linearity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor


@dataclass(frozen=True)
class TreeSettings:
    """Settings of the boosted trees; the defaults are those of the published code."""

    trees: int = 900
    """Number of trees."""
    depth: int = 5
    """Largest depth of a tree."""
    rate: float = 0.05
    """Learning rate."""
    rows: float = 0.8
    """Fraction of the coalitions that each tree sees."""


@dataclass(frozen=True)
class Leaf:
    """A leaf of a tree, as a game."""

    present: frozenset[int]
    """Players who must be present."""
    absent: frozenset[int]
    """Players who must be absent."""
    value: float
    """Value of the leaf."""


@dataclass(frozen=True)
class Surrogate:
    """A game's value as learned by boosted trees."""

    model: GradientBoostingRegressor
    """The fitted trees."""
    players: int
    """Number of players."""

    @classmethod
    def fit(
        cls, coalitions: NDArray[np.bool_], values: NDArray[np.float64], settings: TreeSettings, seed: int
    ) -> Surrogate:
        """Fit trees to the values of coalitions.

        Args:
            coalitions: (M, G) bool.
            values: (M,) float64.
            settings: Settings of the trees.
            seed: Seed of the trees' rows.
        """
        model = GradientBoostingRegressor(
            n_estimators=settings.trees,
            max_depth=settings.depth,
            learning_rate=settings.rate,
            subsample=settings.rows,
            random_state=seed,
        )
        return cls(model.fit(coalitions.astype(np.float32), values), coalitions.shape[1])

    def values(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The learned value of each coalition: (M, G) bool -> (M,) float64."""
        predicted: NDArray[np.float64] = self.model.predict(coalitions.astype(np.float32))
        return predicted

    def shapley_values(self) -> NDArray[np.float64]:
        """Shapley values of the trees: (G,) float64.

        They sum to the learned value of all players less that of none.
        """
        found = np.zeros(self.players)
        for (tree,) in self.model.estimators_:
            for leaf in leaves(tree.tree_):
                add_leaf_values(leaf, found)
        return found * self.model.learning_rate


def leaves(
    tree: Any, node: int = 0, present: frozenset[int] = frozenset(), absent: frozenset[int] = frozenset()
) -> Iterator[Leaf]:
    """The leaves of a scikit-learn tree over columns of 0 and 1, those that no coalition reaches left out.

    Args:
        tree: The `tree_` of a fitted regression tree.
        node: Node at which to start.
        present: Players present on the way to the node.
        absent: Players absent on the way to the node.
    """
    if tree.children_left[node] == -1:
        yield Leaf(present, absent, float(tree.value[node].item()))
        return
    player = int(tree.feature[node])
    if player not in present:
        yield from leaves(tree, int(tree.children_left[node]), present, absent | {player})
    if player not in absent:
        yield from leaves(tree, int(tree.children_right[node]), present | {player}, absent)


def add_leaf_values(leaf: Leaf, found: NDArray[np.float64]) -> None:
    """Add the Shapley values of a leaf's game to those found: (G,) float64, in place."""
    there, away = len(leaf.present), len(leaf.absent)
    if there:
        found[list(leaf.present)] += (
            leaf.value * factorial(there - 1) * factorial(away) / factorial(there + away)
        )
    if away:
        found[list(leaf.absent)] -= (
            leaf.value * factorial(there) * factorial(away - 1) / factorial(there + away)
        )
