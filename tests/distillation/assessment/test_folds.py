"""Folds of held-out queries."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.distillation.assessment.folds import two_folds


@pytest.mark.parametrize("count", [4, 31])
def test_every_row_is_judged_once_and_never_by_what_was_fitted_on_it(count: int) -> None:
    folds = list(two_folds(count, seed=3))
    assert len(folds) == 2
    assert sorted(np.concatenate([judging for _, judging in folds])) == list(range(count))
    assert all(sorted(np.concatenate(fold)) == list(range(count)) for fold in folds)
    assert [len(fitting) for fitting, _ in folds] == [count // 2, count - count // 2]


def test_a_seed_gives_one_split_and_others_give_others() -> None:
    first, again, other = (next(two_folds(40, seed))[0].tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert first == np.random.default_rng(1).permutation(40)[:20].tolist()
