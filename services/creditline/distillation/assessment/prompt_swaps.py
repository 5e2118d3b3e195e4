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
    others = queries[(np.arange(count) + rng.integers(1, count, count)) % count]
    genuine, swapped = np.empty(count), np.empty(count)
    order = rng.permutation(count)
    halves = order[: count // 2], order[count // 2 :]
    for stated, judged in (halves, halves[::-1]):
        fitted = agreement.calibrated(queries[stated])
        genuine[judged] = fitted.agreement(queries[judged], queries[judged])
        swapped[judged] = fitted.agreement(queries[judged], others[judged])
    higher = (genuine[:, None] > swapped).mean(axis=0) + (genuine[:, None] == swapped).mean(axis=0) / 2.0
    return {
        "prompt_swap_found": bootstrap_mean((swapped < LOW_PROMPT_AGREEMENT).astype(float), seed=seed),
        "prompt_swap_false_alarms": bootstrap_mean((genuine < LOW_PROMPT_AGREEMENT).astype(float), seed=seed),
        "prompt_swap_auroc": bootstrap_mean(higher, seed=seed),
    }
