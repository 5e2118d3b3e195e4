"""How unevenly influence is spread."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.calibration.concentration import above_even, concentration


def test_concentration_of_known_cases() -> None:
    one, even, none = np.array([[0.0, 0.0, 3.0, 0.0]]), np.full((1, 4), 0.2), np.zeros((1, 4))
    half = np.array([[0.5, 0.5, 0.0, -0.3]])
    assert concentration(one) == pytest.approx([1.0])
    assert concentration(even) == pytest.approx([0.0])
    assert concentration(none) == pytest.approx([0.0])
    assert concentration(half) == pytest.approx([(0.5 - 0.25) / 0.75])


def test_a_single_work_has_it_all() -> None:
    assert above_even(1.0, 1) == 1.0
