"""Duplicate groups, held against a slow version that compares every pair and joins until nothing changes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from creditline.corpus.duplicates import duplicate_groups, relative_distances


def _slow_distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    ink = max(float((first.astype(float) ** 2).sum()), float((second.astype(float) ** 2).sum()))
    return float(((first.astype(float) - second.astype(float)) ** 2).sum()) / (ink + 1e-6)


def _slow_groups(ink: NDArray[np.float32], threshold: float) -> list[int]:
    groups = list(range(len(ink)))
    changed = True
    while changed:
        changed = False
        for a in range(len(ink)):
            for b in range(len(ink)):
                if groups[b] > groups[a] and _slow_distance(ink[a], ink[b]) < threshold:
                    old, new = groups[b], groups[a]
                    groups = [new if group == old else group for group in groups]
                    changed = True
    return groups


def test_distances_are_those_of_each_pair() -> None:
    random = np.random.default_rng(1)
    ink, others = random.random((7, 30), dtype=np.float32), random.random((5, 30), dtype=np.float32)
    slow = [[_slow_distance(a, b) for b in others] for a in ink]
    np.testing.assert_allclose(relative_distances(ink, others), slow, rtol=1e-4, atol=1e-5)


def test_the_same_picture_is_at_distance_0_and_unrelated_ones_at_1_or_more() -> None:
    ink = np.zeros((2, 16), dtype=np.float32)
    ink[0, :8], ink[1, 8:] = 1.0, 1.0
    distances = relative_distances(ink, ink)
    np.testing.assert_allclose(np.diag(distances), 0.0, atol=1e-6)
    assert distances[0, 1] >= 1.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), works=st.integers(1, 24), spread=st.sampled_from([0.02, 0.08, 0.15, 0.4]))
def test_groups_are_those_of_joining_every_close_pair(seed: int, works: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    centres = random.random((4, 12))
    ink = np.clip(
        centres[random.integers(4, size=works)] + spread * random.standard_normal((works, 12)), 0, 1
    ).astype(np.float32)
    threshold = 0.03
    distances = relative_distances(ink, ink)
    if (np.abs(distances - threshold) < 1e-4).any():
        return  # a pair so near the threshold that rounding decides
    assert list(duplicate_groups(ink, threshold=threshold)) == _slow_groups(ink, threshold)


def test_a_chain_of_near_copies_is_one_group_whose_ends_are_far_apart() -> None:
    steps = np.linspace(0.0, 1.0, 24, dtype=np.float32)
    ink = np.stack([np.concatenate([np.full(8, 1.0 - s), np.full(8, s)]) for s in steps]).astype(np.float32)
    assert relative_distances(ink[:1], ink[-1:])[0, 0] > 1.0
    assert list(duplicate_groups(ink, threshold=0.03)) == [0] * 24


def test_groups_do_not_end_at_the_edge_of_a_block() -> None:
    ink = np.random.default_rng(0).random((1100, 6), dtype=np.float32)
    ink[1099] = ink[3]
    ink[600] = ink[3]
    groups = duplicate_groups(ink, threshold=1e-6)
    assert groups[1099] == groups[600] == groups[3] == 3
