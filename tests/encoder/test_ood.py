"""The out-of-distribution score separates pictures of another kind from those of the training kind."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from creditline.encoder.ood import OodDetector
from creditline.errors import InvalidInput


def usual(count: int, seed: int) -> np.ndarray:
    """(count, 30) features near a subspace of dimension 6."""
    random = np.random.default_rng(seed)
    axes = np.random.default_rng(0).normal(size=(6, 30))
    return (random.normal(size=(count, 6)) @ axes + 0.1 * random.normal(size=(count, 30))).astype(np.float32)


def fitted_detector(count: int) -> OodDetector:
    return OodDetector.of(usual(count, 1), usual(100, 9), directions=6)


def test_foreign_pictures_are_further_than_any_usual_one() -> None:
    ood_detector = fitted_detector(300)
    foreign = np.random.default_rng(5).normal(size=(100, 30)).astype(np.float32)
    ours, theirs = ood_detector.ood_score(usual(100, 2)), ood_detector.ood_score(foreign)
    assert roc_auc_score([0] * 100 + [1] * 100, np.concatenate([ours, theirs])) > 0.99
    assert (theirs > 1.0).mean() > 0.9


def test_about_one_usual_picture_in_a_hundred_passes_the_limit() -> None:
    passed = fitted_detector(300).ood_score(usual(5000, 2)) > 1.0
    assert 0.0 < passed.mean() < 0.05


def test_pictures_of_the_same_kind_are_not_distinguished() -> None:
    ood_detector = fitted_detector(300)
    first, second = ood_detector.ood_score(usual(200, 2)), ood_detector.ood_score(usual(200, 3))
    assert roc_auc_score([0] * 200 + [1] * 200, np.concatenate([first, second])) == pytest.approx(
        0.5, abs=0.1
    )


def test_distances_do_not_depend_on_the_batch() -> None:
    ood_detector, asked = fitted_detector(50), usual(7, 2)
    alone = [ood_detector.ood_score(row[None])[0] for row in asked]
    np.testing.assert_allclose(ood_detector.ood_score(asked), alone, rtol=1e-4)


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"5 known pictures .* at least 16"):
        OodDetector.of(usual(5, 1), usual(100, 2))
    with pytest.raises(InvalidInput, match="3 usual pictures"):
        OodDetector.of(usual(50, 1), usual(3, 2))
