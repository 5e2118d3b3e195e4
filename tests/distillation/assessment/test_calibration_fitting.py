from __future__ import annotations

import numpy as np
import pytest

from creditline.distillation.assessment.calibration_fitting import (
    check_calibration,
    fit_calibration,
    relative_influence,
)
from creditline.errors import InvalidInput


def labels(seed: int, *, queries: int = 40, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Influence that rises steeply with a high cosine and is nothing but noise below 0.3."""
    random = np.random.default_rng(seed)
    cosines = random.uniform(-0.2, 0.9, size=(queries, 300))
    influence = np.maximum(cosines - 0.3, 0.0) ** 2 + noise * random.normal(size=cosines.shape)
    return cosines.astype(np.float32), influence.astype(np.float32)


def pooled_means(values: list[float]) -> list[float]:
    """Isotonic regression by hand: neighbours that fall are pooled until none falls."""
    blocks = [[value] for value in values]
    row = 0
    while row + 1 < len(blocks):
        if np.mean(blocks[row]) > np.mean(blocks[row + 1]):
            blocks[row] += blocks.pop(row + 1)
            row = max(row - 1, 0)
        else:
            row += 1
    return [float(np.mean(block)) for block in blocks for _ in block]


def test_the_fit_is_isotonic_regression() -> None:
    cosines, influence = labels(0, queries=1)
    order = np.argsort(cosines[0])
    calibration = fit_calibration(cosines, influence, max_knots=10_000)
    wanted = pooled_means(influence[0][order].tolist())
    assert calibration.expected_influence(cosines[0][order]) == pytest.approx(wanted, abs=1e-6)


def test_thinning_keeps_the_curve() -> None:
    cosines, influence = labels(1)
    full = fit_calibration(cosines, influence, max_knots=100_000)
    thin = fit_calibration(cosines, influence)
    grid = np.linspace(-0.2, 0.9, 500)
    assert len(thin.cosine) <= 512
    largest = np.abs(thin.expected_influence(grid) - full.expected_influence(grid)).max()
    assert largest < 0.02 * np.ptp(full.influence)


def test_noise_far_from_the_query_is_expected_to_be_nothing() -> None:
    calibration = fit_calibration(*labels(2))
    assert np.abs(calibration.expected_influence([0.0, 0.1, 0.2])).max() < 0.05
    assert calibration.expected_influence([0.85])[0] == pytest.approx(0.55**2, abs=0.05)


def test_the_check_is_near_right_for_labels_that_hold_and_far_for_labels_that_change() -> None:
    cosines, influence = labels(3)
    held = check_calibration(cosines, influence, seed=0)
    assert held.total_ratio == pytest.approx(1.0, abs=0.05)
    assert held.error < 0.1
    changed = influence.copy()
    changed[np.random.default_rng(0).permutation(40)[:20]] += np.linspace(0, 2, 300)
    assert check_calibration(cosines, changed, seed=0).error > held.error


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one influence per cosine"):
        fit_calibration(np.zeros((2, 3), dtype=np.float32), np.zeros((3, 2), dtype=np.float32))


def test_relative_influence_takes_out_how_far_a_query_moves_all_works() -> None:
    influence = np.array([[3.0, 1.0, -2.0], [0.03, 0.01, -0.02], [-1.0, 0.0, -3.0]], dtype=np.float32)
    relative = relative_influence(influence)
    np.testing.assert_allclose(relative[0], [0.75, 0.25, -0.5])
    np.testing.assert_allclose(relative[1], relative[0], rtol=1e-5)
    np.testing.assert_array_equal(relative[2], influence[2])


def test_what_is_nobodys_in_particular_is_in_the_remainder() -> None:
    """Noise of both signs has no expected influence, but a positive part: the mean of half a normal."""
    cosines, influence = labels(4, queries=200)
    calibration = fit_calibration(cosines, influence)
    assert np.abs(calibration.expected_influence([0.1])).max() < 0.03
    assert calibration.expected_positive([0.1])[0] == pytest.approx(0.3 / np.sqrt(2 * np.pi), abs=0.02)
    check = check_calibration(cosines, influence, seed=0)
    assert check.remainder == pytest.approx(check.remainder_true, abs=0.02)
    assert check.remainder_true > 0.9
