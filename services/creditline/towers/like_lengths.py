"""Texts batched by like length: padding costs as much as tokens do."""

from __future__ import annotations

from collections.abc import Sequence

# Cost of one more forward pass, in tokens of a text: each pass reads all weights from memory.
_TOKENS_PER_FORWARD = 20


def batches_of_like_length(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Divide texts into batches of least cost: each pays for its padded tokens and for one forward pass.

    Args:
        lengths: Number of tokens of each text.
        most: Greatest number of texts in a batch.

    Returns:
        Indices of the texts of each batch; every text is in one batch, and no batch is empty.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    # Least cost of the first n texts in order, and the start of their last batch.
    costs, starts = [0], [0]
    for end, longest in enumerate((lengths[index] for index in order), start=1):
        candidates = [
            (costs[start] + _TOKENS_PER_FORWARD + (end - start) * longest, start)
            for start in range(max(0, end - most), end)
        ]
        cost, start = min(candidates)
        costs.append(cost)
        starts.append(start)
    batches = []
    end = len(order)
    while end:
        batches.append(order[starts[end] : end])
        end = starts[end]
    return batches
