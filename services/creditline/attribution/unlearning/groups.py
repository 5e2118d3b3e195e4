"""Influence of a group of works on a query, such as all works of one contributor.

Expected ΔL is additive: the sum over a group's works is the expected change of loss when all of them are left
out. GUDA (arXiv 2601.22651) evaluates the model instead: it unlearns the group and measures the query's loss.
Unlike a sum, it takes into account that the works of a group can substitute for each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Gallery
from creditline.attribution.unlearning.forgetting import Forgetting
from creditline.attribution.unlearning.scores import UNLEARNING_SCORES
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, denoising_losses
from creditline.generator.pipeline import Generator

# Draws of a query's loss.
QUERY_DRAWS = Draws(timesteps=20, repeats=2, salt="guda", mirrored=True)


def group_sums(changes: NDArray[np.float64], groups: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Sum over the works of each group.

    Args:
        changes: Expected ΔL: (Q, N) float64.
        groups: Rows of the works in each group, G groups.

    Returns:
        Sums: (Q, G) float64.
    """
    return np.stack([changes[:, list(group)].sum(axis=1) for group in groups], axis=1)


def guda_scores(
    generator: Generator,
    forgetting: Forgetting,
    works: Gallery,
    groups: Sequence[Sequence[int]],
    queries: Gallery,
    draws: Draws = QUERY_DRAWS,
) -> dict[str, NDArray[np.float64]]:
    """Unlearn one group after the other and score its effect on the queries' losses (GUDA).

    A group is unlearned once for all queries.

    Args:
        generator: The generator; its weights are unchanged afterwards.
        forgetting: The unlearning procedure.
        works: The works.
        groups: Rows of the works in each group, G groups.
        queries: The queries, Q of them.
        draws: Timesteps and noises of the queries' losses.

    Returns:
        Scores by name of `UNLEARNING_SCORES`, each (Q, G) float64.

    Raises:
        InvalidInput: A group is empty.
    """
    if not all(len(group) for group in groups):
        empty = next(number for number, group in enumerate(groups) if not len(group))
        raise InvalidInput(f"group {empty} has no works and cannot be unlearned; leave it out")
    before = denoising_losses(generator, queries.examples, draws)
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in UNLEARNING_SCORES}
    for group in groups:
        with forgetting.forget(generator, works.examples.rows(group)):
            after = denoising_losses(generator, queries.examples, draws)
        for name, score in UNLEARNING_SCORES.items():
            columns[name].append(score(before, after, draws))
    return {name: np.stack(values, axis=1) for name, values in columns.items()}
