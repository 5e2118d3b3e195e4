"""Bands have their nominal coverage, also on queries that they were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.calibration.intervals import Intervals
from creditline.distillation.assessment.interval_fitting import (
    coverage,
    fit_deviation_interval,
    fit_intervals,
)
from creditline.errors import InvalidInput


def drawn(queries: int, works: int, seed: int, *, zeros: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Influence whose spread grows with the cosine and differs from query to query."""
    random = np.random.default_rng(seed)
    cosines = random.uniform(0.0, 1.0, (queries, works)).astype(np.float32)
    loud = random.lognormal(0.0, 0.3, (queries, 1))
    influence = loud * (0.05 + cosines**2) * random.gamma(2.0, 1.0, (queries, works))
    influence[random.random((queries, works)) < zeros] = 0.0
    return cosines, influence.astype(np.float32)


@pytest.mark.parametrize("zeros", [0.0, 0.6])
@pytest.mark.parametrize("nominal_coverage", [0.8, 0.9])
def test_unseen_queries_are_covered_overall_and_in_each_fifth(zeros: float, nominal_coverage: float) -> None:
    band = fit_intervals(*drawn(200, 300, seed=1, zeros=zeros), nominal_coverage=nominal_coverage)
    cosines, influence = drawn(200, 300, seed=2, zeros=zeros)
    assert coverage(band, cosines, influence).mean() == pytest.approx(nominal_coverage, abs=0.02)
    low, high = band.of(cosines)
    inside = ((low <= influence) & (influence <= high)).ravel()
    for fifth in np.array_split(np.argsort(cosines.ravel()), 5):
        assert inside[fifth].mean() > nominal_coverage - 0.06


def test_a_band_is_narrow_where_works_have_no_influence_and_wide_where_they_have() -> None:
    band = fit_intervals(*drawn(100, 300, seed=3))
    low, high = band.of(np.array([0.05, 0.95]))
    assert high[0] - low[0] < 0.15 * (high[1] - low[1])


def test_queries_too_few_to_halve_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 4 queries"):
        fit_intervals(*drawn(3, 10, seed=1))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cosine": (0.0,)}, "make no band"),
        ({"cosine": (0.5, 0.5)}, "rise strictly"),
        ({"low": (0.0, 9.0)}, "above its high"),
        ({"high": (1.0, float("nan"))}, "finite"),
        ({"coverage": 1.0}, "between 0 and 1"),
    ],
)
def test_a_band_that_is_none_is_refused(changed: dict[str, object], said: str) -> None:
    good = {"cosine": (0.0, 1.0), "low": (0.0, 0.1), "high": (0.2, 0.5), "coverage": 0.9}
    with pytest.raises(InvalidInput, match=said):
        Intervals(**(good | changed))  # type: ignore[arg-type]


def sums(queries: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Parts that are expected of one to nine sums a query, and true ones that spread about them."""
    random = np.random.default_rng(seed)
    expected = [random.uniform(0.02, 0.5, random.integers(1, 10)) for _ in range(queries)]
    loud = random.normal(0.0, 0.2, queries)
    true = [
        np.clip(e + np.sqrt(e * (1 - e)) * (shift + random.normal(0.0, 0.1, len(e))), 0, 1)
        for e, shift in zip(expected, loud, strict=True)
    ]
    return expected, true


def test_sums_of_unseen_queries_lie_within_the_stretch_as_often_as_it_says() -> None:
    stretch = fit_deviation_interval(*sums(300, seed=1), nominal_coverage=0.9)
    covered = [
        np.mean([stretch.of(e)[0] <= t <= stretch.of(e)[1] for e, t in zip(many, truth, strict=True)])
        for many, truth in zip(*sums(300, seed=2), strict=True)
    ]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


def test_without_sums_no_stretch_is_fitted() -> None:
    with pytest.raises(InvalidInput, match="no sums"):
        fit_deviation_interval([np.empty(0)], [np.empty(0)])
