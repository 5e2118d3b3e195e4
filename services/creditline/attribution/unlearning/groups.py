"""What a query owes a group of works, such as all of one contributor's.

Expected ΔL adds up: the sum over a group's works is what leaving all of them out is expected to do. GUDA
(arXiv 2601.22651) asks the model instead: forget the group, and see what that does to the query; works of a
group stand in for one another, which no sum knows.
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

# A query's own draws, as many as a work's in unlearning.
QUERY_DRAWS = Draws(timesteps=20, repeats=2, salt="guda", mirrored=True)


def group_sums(changes: NDArray[np.float64], groups: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Sums over each group's works: (Q, N) -> (Q, G)."""
    return np.stack([changes[:, list(group)].sum(axis=1) for group in groups], axis=1)


def guda_scores(
    generator: Generator,
    forgetting: Forgetting,
    works: Gallery,
    groups: Sequence[Sequence[int]],
    queries: Gallery,
    draws: Draws = QUERY_DRAWS,
) -> dict[str, NDArray[np.float64]]:
    """Forget one group after the other: by each of `UNLEARNING_SCORES`, what the queries lose, (Q, G).

    groups: rows of the works. One forgetting serves all queries. Raises InvalidInput for an empty group.
    """
    if not all(len(group) for group in groups):
        raise InvalidInput("a group without works owes nothing and cannot be forgotten; leave it out")
    before = denoising_losses(generator, queries.examples, draws)
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in UNLEARNING_SCORES}
    for group in groups:
        with forgetting.forget(generator, works.examples.rows(group)):
            after = denoising_losses(generator, queries.examples, draws)
        for name, score in UNLEARNING_SCORES.items():
            columns[name].append(score(before, after, draws))
    return {name: np.stack(values, axis=1) for name, values in columns.items()}
