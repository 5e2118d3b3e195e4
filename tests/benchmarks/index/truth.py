"""The nearest works by brute force, and how many of them an answer has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.index.synthetic import CHUNK, SyntheticCorpus

_CHUNKS_AT_ONCE = 10


def nearest(
    corpus: SyntheticCorpus,
    queries: NDArray[np.float32],
    depth: int,
    *,
    keep: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
) -> NDArray[np.int64]:
    """Numbers of the `depth` nearest works that `keep` (numbers to (N,) bool) lets pass: (Q, depth)."""
    dtype = np.empty((len(queries), 0), dtype=np.int64)
    cosines = np.empty((len(queries), 0), dtype=np.float32)
    step = CHUNK * _CHUNKS_AT_ONCE
    for first in range(0, corpus.count, step):
        last = min(first + step, corpus.count)
        some = np.arange(first, last)
        scores = queries @ corpus.vectors(first, last).T
        if keep is not None:
            scores[:, ~keep(some)] = -np.inf
        cosines = np.concatenate([cosines, scores], axis=1)
        dtype = np.concatenate([dtype, np.broadcast_to(some, scores.shape)], axis=1)
        best = np.argpartition(-cosines, min(depth, cosines.shape[1]) - 1, axis=1)[:, :depth]
        cosines, dtype = (np.take_along_axis(rows, best, axis=1) for rows in (cosines, dtype))
    return dtype


def recall(found: Sequence[set[str]], truth: Sequence[set[str]]) -> NDArray[np.float64]:
    """For each query the part of the truth that was found: (Q,)."""
    return np.array([len(some & every) / len(every) for some, every in zip(found, truth, strict=True)])
