"""Swapped prompts by the generator's own loss: how much better a prompt explains a picture than none does.

A second detector beside `encoder.agreement`, and a dearer one: it needs the generator and twenty passes of
its UNet for a pair, where the agreement needs what the towers have computed already. A difference of losses
with the same noise is a ratio of likelihoods under the generator (Li et al., "Your diffusion model is
secretly a zero-shot classifier", arXiv 2303.16203).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from creditline.distillation.assessment.prompt_swaps import auroc, other_queries, swap_estimates
from creditline.distillation.labels.label_set import LabelledQuery
from creditline.evaluation.bootstrap import Estimate
from creditline.generator.losses import Draws, denoising_losses, encoded_examples
from creditline.generator.pipeline import Generator

DRAWS = Draws(salt="prompt-swaps")
"""Timesteps and noise of the loss: ten passes for each prompt."""
_BY_LOSS = "_by_loss"


def mean_losses(
    generator: Generator, queries: Sequence[LabelledQuery], prompts: Sequence[str], *, draws: Draws = DRAWS
) -> NDArray[np.float64]:
    """Mean loss of each picture with the given prompt, with the same noise for every prompt: (Q,).

    Args:
        generator: The generator that made the pictures.
        queries: Q queries, whose pictures are taken; the noise depends on their places in the list.
        prompts: Q prompts.
        draws: Timesteps and noise.
    """
    ids, pictures = [str(place) for place in range(len(queries))], [query.image() for query in queries]
    losses = denoising_losses(generator, encoded_examples(generator, ids, pictures, prompts), draws)
    means: NDArray[np.float64] = losses.double().mean(dim=1).cpu().numpy()
    return means


def prompt_loss_figures(
    generator: Generator, queries: Sequence[LabelledQuery], *, seed: int, draws: Draws = DRAWS
) -> dict[str, Estimate]:
    """The figures of `prompt_swap_figures`, by the generator's loss.

    Each query is judged by the quantiles of the other half of the queries, with its own prompt and with that
    of another query, drawn uniformly.

    Args:
        generator: The generator that made the pictures.
        queries: Genuine queries.
        seed: Seed of halves, swaps and bootstrap.
        draws: Timesteps and noise.
    """
    rng, count = np.random.default_rng(seed), len(queries)
    other = other_queries(count, rng)
    without, own, wrong = (
        mean_losses(generator, queries, prompts, draws=draws)
        for prompts in (
            [""] * count,
            [query.prompt for query in queries],
            [queries[row].prompt for row in other],
        )
    )
    order = rng.permutation(count)
    halves = order[: count // 2], order[count // 2 :]
    genuine, swapped = np.empty(count), np.empty(count)
    for stated, judged in (halves, halves[::-1]):
        known = np.sort((without - own)[stated])
        genuine[judged] = np.searchsorted(known, (without - own)[judged]) / len(known)
        swapped[judged] = np.searchsorted(known, (without - wrong)[judged]) / len(known)
    # Quantiles of few pairs tie; the losses do not.
    surely = auroc(without - own, without - wrong, seed=seed)
    return {
        **swap_estimates(genuine, swapped, seed=seed, suffix=_BY_LOSS),
        f"prompt_swap_auroc{_BY_LOSS}": surely,
    }
