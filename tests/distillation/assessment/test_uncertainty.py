"""Expected and true sums of the people among whom the credit of works is divided."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.calibration import Calibration
from creditline.calibration.holders import Division, Holders, whole
from creditline.distillation.assessment.uncertainty import query_sums


def test_sums_are_those_of_the_people_with_parts_of_the_first_ten_works() -> None:
    cosines = np.linspace(1.0, 0.0, 15, dtype=np.float32)
    true = np.linspace(0.0, 0.2, 15, dtype=np.float32)
    holders: list[Holders] = [whole("ann")] * 9 + [(("ann", 0.25), ("ben", 0.75))] + [whole("cy")] * 4
    holders.append((("ben", 0.5), ("cy", 0.5)))
    # Every cosine is taken for what it is.
    sums = query_sums(Calibration((0.0, 1.0), (0.0, 1.0)), cosines, true, Division.of(holders))
    expected = [cosines[:9].sum() + 0.25 * cosines[9], 0.75 * cosines[9] + 0.5 * cosines[14]]
    assert sums.contributors == pytest.approx(np.array(expected) / cosines.sum(), rel=1e-5)
    assert sums.true_contributors == pytest.approx(
        [true[:9].sum() + 0.25 * true[9], 0.75 * true[9] + 0.5 * true[14]], rel=1e-5
    )
