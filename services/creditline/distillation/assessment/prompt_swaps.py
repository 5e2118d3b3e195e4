"""Swapped prompts: how many are found by the agreement of pictures with prompts, and how surely."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from creditline.api.answers import LOW_PROMPT_AGREEMENT
from creditline.encoder.agreement import PromptAgreement
from creditline.evaluation.bootstrap import Estimate, bootstrap_mean


def prompt_swap_figures(
    agreement: PromptAgreement, queries: NDArray[np.float32], *, seed: int
) -> dict[str, Estimate]:
    """Part of swapped prompts that are flagged at 5 % false alarms, false alarms seen, and AUROC.

    Each query is judged by the quantiles of the other half of the queries, with its own prompt and with that
    of another query, drawn uniformly.

    Args:
        agreement: The agreement, fitted on other queries.
        queries: (H, F) float32, joined features of the queries.
        seed: Seed of halves, swaps and bootstrap.
    """
    rng, count = np.random.default_rng(seed), len(queries)
    others = queries[other_queries(count, rng)]
    genuine, swapped = np.empty(count), np.empty(count)
    order = rng.permutation(count)
    halves = order[: count // 2], order[count // 2 :]
    for stated, judged in (halves, halves[::-1]):
        fitted = agreement.calibrated(queries[stated])
        genuine[judged] = fitted.agreement(queries[judged], queries[judged])
        swapped[judged] = fitted.agreement(queries[judged], others[judged])
    return swap_estimates(genuine, swapped, seed=seed)


def other_queries(count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """For each of `count` queries, another one, drawn uniformly: (count,)."""
    drawn: NDArray[np.intp] = (np.arange(count) + rng.integers(1, count, count)) % count
    return drawn


def swap_estimates(
    genuine: NDArray[np.float64], swapped: NDArray[np.float64], *, seed: int, suffix: str = ""
) -> dict[str, Estimate]:
    """Figures of a detector of swapped prompts, by their benchmark names.

    Args:
        genuine: (Q,), parts of other genuine pairs that agree less than each genuine pair.
        swapped: (Q,), the same of pairs with another query's prompt.
        seed: Seed of the bootstrap.
        suffix: End of the names, for detectors beside the ordinary one.
    """
    found, alarms = (bootstrap_mean(part < LOW_PROMPT_AGREEMENT, seed=seed) for part in (swapped, genuine))
    return {
        f"prompt_swap_found{suffix}": found,
        f"prompt_swap_false_alarms{suffix}": alarms,
        f"prompt_swap_auroc{suffix}": auroc(genuine, swapped, seed=seed),
    }


def auroc(genuine: NDArray[np.float64], swapped: NDArray[np.float64], *, seed: int) -> Estimate:
    """How often a genuine pair, (Q,), has a higher value than a swapped one, (S,); equal ones count half."""
    higher = (genuine[:, None] > swapped).mean(axis=0) + (genuine[:, None] == swapped).mean(axis=0) / 2.0
    return bootstrap_mean(higher, seed=seed)
