"""The fit of the map to expected ΔL, on losses that are made from a map that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.attribution.ensembles.expected_change import KNOTS, ExpectedChange
from creditline.evaluation.lab.common_scale import fit_expected_change, predicted_losses, unit_test
from creditline.evaluation.lds import Retrained

TRUE = ExpectedChange(KNOTS, (0.0, 0.001, 0.004, 0.01, 0.02, 0.05, 0.06, 0.06), common=0.0002)
WHOLE = 1.0
_WORKS, _QUERIES, _SUBSETS, _NOISE = 200, 20, 60, 0.002


@pytest.fixture(scope="module")
def scores() -> NDArray[np.float64]:
    return np.random.default_rng(1).standard_t(3, size=(_QUERIES, _WORKS))


@pytest.fixture(scope="module")
def retrained(scores: NDArray[np.float64]) -> Retrained:
    random = np.random.default_rng(2)
    subsets = np.zeros((_SUBSETS, _WORKS))
    for row in subsets:
        row[random.permutation(_WORKS)[: _WORKS // 2]] = 1.0
    losses = WHOLE + predicted_losses(TRUE, scores, subsets)
    noise = _NOISE * random.standard_normal((_SUBSETS, 2, _QUERIES))
    return Retrained(subsets, losses[:, None] + noise)


def halves(retrained: Retrained) -> tuple[Retrained, Retrained]:
    first, second = (Retrained(retrained.subsets[start::2], retrained.losses[start::2]) for start in (0, 1))
    return first, second


def test_the_map_that_made_the_losses_is_found(scores: NDArray[np.float64], retrained: Retrained) -> None:
    found = fit_expected_change(scores, retrained, whole_loss=WHOLE)
    np.testing.assert_allclose(found.heights[:6], TRUE.heights[:6], atol=0.0015)
    assert found.common == pytest.approx(TRUE.common, abs=1e-4)


def test_it_foretells_other_subsets_with_slope_one(scores: NDArray[np.float64], retrained: Retrained) -> None:
    first, second = halves(retrained)
    fitted = fit_expected_change(scores, first)
    found = unit_test(predicted_losses(fitted, scores, second.subsets), second, seed=3)
    assert found.slope.low < 1.0 < found.slope.high
    assert found.slope.value == pytest.approx(1.0, abs=0.05)
    assert found.explained > 0.9
    assert found.correlation == pytest.approx(np.sqrt(found.explained), abs=0.02)
    assert 0.9 < found.ceiling < 1.0


def test_scores_that_say_nothing_explain_nothing(scores: NDArray[np.float64], retrained: Retrained) -> None:
    first, second = halves(retrained)
    nothing = np.random.default_rng(9).normal(size=scores.shape)
    fitted = fit_expected_change(nothing, first)
    found = unit_test(predicted_losses(fitted, nothing, second.subsets), second, seed=3)
    assert abs(found.explained) < 0.1


def test_without_whole_models_any_work_is_worth_nothing(
    scores: NDArray[np.float64], retrained: Retrained
) -> None:
    assert fit_expected_change(scores, retrained).common == 0.0


def test_a_query_whose_scores_hardly_vary_is_told_apart_less_where_spreads_compare() -> None:
    random = np.random.default_rng(3)
    scores = random.normal(size=(6, 40))
    retrained = Retrained(
        random.random((20, 40)) < 0.5,
        1.0 + 0.1 * random.random((20, 2, 6)),
    )
    flat = 0.01 * scores
    plain = fit_expected_change(scores, retrained)
    compared = fit_expected_change(scores, retrained, comparable=True)
    np.testing.assert_allclose(plain.excess(flat), plain.excess(scores))
    assert compared.spread == pytest.approx(np.median(scores.std(axis=1)))
    assert compared.excess(flat).max() < 0.02 * compared.heights[1] + 1e-12
    assert ExpectedChange.from_json(compared.to_json()) == compared
