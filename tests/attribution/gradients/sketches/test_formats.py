"""Number formats and low ranks: what is read back, and how much it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from creditline.attribution.gradients.sketches.formats import RowFormat, stored_as
from creditline.attribution.gradients.sketches.low_rank import rank_factors, truncated_curvature
from creditline.attribution.methods.trak import trak_scores
from creditline.errors import InvalidInput


def rows_of(count: int, width: int) -> NDArray[np.float32]:
    lengths = 10.0 ** np.arange(-3, count - 3)
    return (np.random.default_rng(2).normal(size=(count, width)) * lengths[:, None]).astype(np.float32)


@pytest.mark.parametrize(
    ("form", "width", "bytes_per_row", "error"),
    [("float32", 4001, 16_004, 0.0), ("float16", 4001, 8002, 3e-4), ("int8", 4001, 4005, 0.01),
     ("int4", 4000, 2004, 0.12), ("int4", 4001, 2005, 0.12), ("sign", 4001, 505, 0.62)],
)  # fmt: skip
def test_rows_are_read_back_within_the_formats_error(
    form: RowFormat, width: int, bytes_per_row: int, error: float
) -> None:
    rows = rows_of(5, width)
    stored = stored_as(rows, form)
    assert stored.bytes_per_row == bytes_per_row
    # The error of every row is relative to that row's own length.
    lost = np.linalg.norm(stored.rows() - rows, axis=1) / np.linalg.norm(rows, axis=1)
    assert (lost <= error).all()
    assert (lost >= error / 10).all()
    np.testing.assert_array_equal(stored.rows([3, 1]), stored.rows()[[3, 1]])


@pytest.mark.parametrize("form", ["float32", "int8", "int4", "sign"])
def test_a_row_of_zeros_stays_zero(form: RowFormat) -> None:
    np.testing.assert_array_equal(
        stored_as(np.zeros((2, 4), dtype=np.float32), form).rows(), np.zeros((2, 4))
    )


@pytest.mark.parametrize("form", ["float32", "float16", "int8", "int4", "sign"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_refused(form: RowFormat, value: float) -> None:
    rows = rows_of(3, 8)
    rows[1, 2] = value
    with pytest.raises(InvalidInput, match=f"row 1 of 3 is NaN, infinite or beyond {form}"):
        stored_as(rows, form)


def test_numbers_beyond_float16_and_unknown_formats_are_refused() -> None:
    with pytest.raises(InvalidInput, match="row 0 of 1 is NaN, infinite or beyond float16"):
        stored_as(np.full((1, 2), 1e6, dtype=np.float32), "float16")
    with pytest.raises(InvalidInput, match="unknown number format 'int3'"):
        stored_as(rows_of(1, 2), "int3")  # type: ignore[arg-type]


def test_rank_factors_are_the_best_of_their_rank() -> None:
    matrices = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(matrices)
    for rank in (1, 3):
        factors = rank_factors(matrices, rank)
        assert factors.numbers == rank * (6 + 5)
        lost = (factors.dense() - matrices).square().sum(dim=(1, 2))
        torch.testing.assert_close(lost, values[:, rank:].square().sum(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rank_factors(matrices, 5).dense(), matrices, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_the_curvature_of_full_rank_is_the_inverse(shape: tuple[int, int]) -> None:
    works = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    rows = np.random.default_rng(2).normal(size=(3, shape[1])).astype(np.float32)
    damping = 0.2 * np.square(works).sum() / len(works)
    inverse = np.linalg.inv(works.T @ works + damping * np.eye(shape[1]))
    solved = truncated_curvature(works, min(shape), 0.2).solve(rows)
    np.testing.assert_allclose(solved, rows @ inverse, rtol=1e-3, atol=1e-5)


def test_the_curvature_gives_the_scores_of_traks_kernel() -> None:
    """That kernel agrees with traker's (`tests/attribution/test_oracles.py`)."""
    random = np.random.default_rng(1)
    works, queries = (random.normal(size=(count, 40)).astype(np.float32) for count in (12, 3))
    found = truncated_curvature(works, 12, 0.2).solve(queries) @ works.T
    np.testing.assert_allclose(found, trak_scores(queries, works, 0.2), rtol=1e-3, atol=1e-5)


def test_a_truncated_curvature_keeps_the_leading_directions() -> None:
    random = np.random.default_rng(1)
    works = (random.normal(size=(50, 4)) @ random.normal(size=(4, 20))).astype(np.float32)
    curvature = truncated_curvature(works, 19, 0.1)
    assert curvature.vectors.shape == (20, 4)
    one = truncated_curvature(works, 1, 0.1)
    leading = curvature.vectors[:, -1:].T
    np.testing.assert_allclose(one.solve(leading), curvature.solve(leading), rtol=1e-3, atol=1e-5)


def test_impossible_ranks_and_dampings_are_refused() -> None:
    with pytest.raises(InvalidInput, match="rank 0 is too small"):
        rank_factors(torch.ones(1, 2, 2), 0)
    with pytest.raises(InvalidInput, match="rank 0 is too small"):
        truncated_curvature(rows_of(2, 3), 0, 0.1)
    with pytest.raises(InvalidInput, match="mean squared length of 2 rows is 0"):
        truncated_curvature(np.zeros((2, 3), dtype=np.float32), 1, 0.1)
    with pytest.raises(InvalidInput, match="regularisation of 0"):
        truncated_curvature(rows_of(2, 3), 1, 0)
