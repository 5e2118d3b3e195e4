"""One training against another, on records whose losses are computed from known influences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.attribution.attributor import Cost
from creditline.errors import InvalidInput
from creditline.evaluation.lab.exact.smoothness import CHOOSING, judged_training, smooth_gain, thinned
from creditline.evaluation.lab.judging.scoring import MethodScores
from creditline.evaluation.lab.plan import LabPlan, LabQuery
from creditline.evaluation.lab.record import LabRecord

_WORKS, _QUERIES, _SUBSETS = 20, 3, 40


def _record(truth: NDArray[np.float64], noise: float) -> LabRecord:
    random = np.random.default_rng(5)
    subsets = np.stack([random.permutation(_WORKS) < _WORKS // 2 for _ in range(_SUBSETS)])
    losses = 50.0 - subsets @ truth.T + noise * random.normal(size=(_SUBSETS, _QUERIES))
    return LabRecord(
        plan=LabPlan(works=_WORKS, subsets=_SUBSETS, seeds=2),
        generator="generator",
        corpus="corpus",
        work_ids=tuple(f"work-{row}" for row in range(_WORKS)),
        queries=tuple(LabQuery(f"generated-{row}", "generated", "prompt", 0) for row in range(_QUERIES)),
        subsets=subsets,
        losses=np.stack([losses, -losses], axis=1)[..., None].astype(np.float32),
        pictures=np.zeros((_QUERIES, 1, 1, 3), dtype=np.uint8),
        latents=np.zeros((_QUERIES, 1, 1, 1), dtype=np.float32),
    )


@pytest.fixture(scope="module")
def truth() -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(size=(_QUERIES, _WORKS))


def _scores(record: LabRecord, **values: NDArray[np.float64]) -> dict[str, MethodScores]:
    cost, rows = Cost(0.0, 0.0, 0.0, 0.0), tuple(range(_QUERIES))
    return {
        name.replace("_", "-"): MethodScores(name, rows, one.astype(np.float32), cost, record.fingerprints)
        for name, one in values.items()
    }


def test_a_thinned_record_holds_the_first_halves_and_the_first_seed(truth: NDArray[np.float64]) -> None:
    record = _record(truth, 0.0)
    thin = thinned(record, 32)
    assert np.array_equal(thin.losses, record.losses[:32, :1])
    thin.refuse_incomplete()
    with pytest.raises(InvalidInput, match="40 subsets, not 41"):
        thinned(record, 41)


def test_a_method_takes_the_noise_that_is_better_on_the_first_halves(truth: NDArray[np.float64]) -> None:
    record = thinned(_record(truth, 0.0), 32)
    judged = judged_training(record, ["m"], _scores(record, m=-truth, m_common=truth), {})
    assert judged.lds()["m"] == pytest.approx(1.0)
    assert len(judged.benefit) == 32 - CHOOSING


def test_the_gain_is_the_ratio_of_the_mean_scores(truth: NDArray[np.float64]) -> None:
    clear, noisy = (thinned(_record(truth, noise), 32) for noise in (0.0, 2.0))
    one, other = (judged_training(record, ["m"], _scores(record, m=truth), {}) for record in (clear, noisy))
    gain = smooth_gain(one, other)
    assert gain.value == pytest.approx(one.lds()["m"] / other.lds()["m"])
    assert 1.0 < gain.low < gain.value < gain.high
    assert smooth_gain(one, one).value == 1.0
