"""Choices are made on choosing subsets alone, and judged on the others, in every draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.attribution.attributor import Cost
from creditline.errors import NotReady
from creditline.evaluation.lab.judging.aids import POWERS, AidedMethod, aided_method
from creditline.evaluation.lab.judging.comparison import Comparison, Sum, resampled_draws, split_draws
from creditline.evaluation.lab.judging.scoring import CHOOSING, Judge, MethodScores
from creditline.evaluation.lab.judging.weighting import fitted_weights
from creditline.evaluation.lab.plan import LabPlan, LabQuery
from creditline.evaluation.lab.record import LabRecord

_SUBSETS, _WORKS, _QUERIES = 40, 30, 6
_ROWS = tuple(range(_QUERIES))


@pytest.fixture
def truth() -> np.ndarray:
    """Influences with a heavy tail: a few works matter much."""
    return np.random.default_rng(1).normal(size=(_QUERIES, _WORKS)) ** 3


@pytest.fixture
def record(truth: np.ndarray) -> LabRecord:
    random = np.random.default_rng(2)
    order = [random.permutation(_WORKS) < _WORKS // 2 for _ in range(_SUBSETS)]
    subsets = np.stack(order)
    losses = 100.0 - subsets @ truth.T
    losses = losses[:, None] + 0.5 * random.normal(size=(_SUBSETS, 2, _QUERIES))
    return LabRecord(
        plan=LabPlan(subsets=_SUBSETS),
        generator="generator",
        corpus="corpus",
        work_ids=tuple(map(str, range(_WORKS))),
        queries=tuple(LabQuery(f"q{number}", "generated", "a prompt", 1) for number in _ROWS),
        subsets=subsets,
        losses=losses[..., None].astype(np.float32),
        pictures=np.zeros((_QUERIES, 8, 8, 3), dtype=np.uint8),
        latents=np.zeros((_QUERIES, 1, 2, 2), dtype=np.float32),
    )


def scores_of(name: str, values: np.ndarray, record: LabRecord) -> MethodScores:
    cost = Cost(1.0, 2.0, 3.0, 4.0)
    return MethodScores(name, _ROWS, values.astype(np.float32), cost, record.fingerprints)


@pytest.fixture
def scores(truth: np.ndarray, record: LabRecord) -> dict[str, MethodScores]:
    """A method that is blunt and noisy, better with common noise; another; and one that knows nothing."""
    noise = np.random.default_rng(3).normal(size=(4, *truth.shape))
    blunt = np.cbrt(truth)
    values = {
        "trak": blunt + noise[0],
        "trak-common": blunt + 0.3 * noise[1],
        "other": blunt + 0.5 * noise[2],
        "blind": noise[3],
    }
    return {name: scores_of(name, table, record) for name, table in values.items()}


@pytest.fixture
def methods(scores: dict[str, MethodScores]) -> list[AidedMethod]:
    return [aided_method(name, _ROWS, scores, {}) for name in ("trak", "other", "blind")]


@pytest.fixture
def comparison(record: LabRecord, methods: list[AidedMethod]) -> Comparison:
    names = ("trak", "other", "blind")
    return Comparison(
        record,
        _ROWS,
        methods,
        [Sum("plain", names, "none"), Sum("sharp", names, "members"), Sum("total", names, "sum")],
    )


def test_noise_and_power_are_chosen_and_judged_as_the_judge_does(
    comparison: Comparison, record: LabRecord, scores: dict[str, MethodScores]
) -> None:
    found = comparison.outcome(comparison.standard)
    assert found.plain["trak"].aid.common
    assert found.plain["trak"].aid.power == 1.0
    assert found.sharpened["trak"].aid.power > 1.5
    judged = Judge(record, "generated").lds(scores["trak-common"])
    assert found.plain["trak"].lds == pytest.approx(judged.value, abs=1e-9)
    assert found.best(["trak", "other"], sharp=True) > found.best(["trak", "other"], sharp=False)


def test_a_sum_has_the_weights_of_a_consensus(
    comparison: Comparison, record: LabRecord, scores: dict[str, MethodScores]
) -> None:
    found = comparison.outcome(comparison.standard).sums["plain"]
    members = [scores["trak-common"], scores["other"], scores["blind"]]
    expected = fitted_weights(record, members)
    by_name = {aid.method: weight for aid, weight in found.weights.items()}
    assert by_name["trak-common"] == pytest.approx(expected[0], abs=1e-4)
    assert by_name["other"] == pytest.approx(expected[1], abs=1e-4)
    assert found.power == 1.0


def test_a_sharpened_sum_is_better_where_few_works_matter(comparison: Comparison) -> None:
    found = comparison.outcome(comparison.standard).sums
    assert found["sharp"].lds > found["plain"].lds + 0.02
    assert found["total"].power > 1.0
    assert found["total"].weights == found["plain"].weights
    assert found["total"].lds > found["plain"].lds + 0.02


def test_judging_subsets_do_not_affect_a_choice(
    record: LabRecord, methods: list[AidedMethod], comparison: Comparison
) -> None:
    losses = record.losses.copy()
    losses[CHOOSING:] = losses[CHOOSING:][::-1]
    spoilt = Comparison(
        replace(record, losses=losses),
        _ROWS,
        methods,
        [Sum("sharp", ("trak", "other"), "members")],
    )
    ours, theirs = (one.outcome(one.standard) for one in (spoilt, comparison))
    assert {name: one.aid for name, one in ours.sharpened.items()} == {
        name: one.aid for name, one in theirs.sharpened.items()
    }
    assert ours.sharpened["trak"].lds < 0.5 < theirs.sharpened["trak"].lds


def test_draws_keep_choosing_and_judging_apart() -> None:
    splits = list(split_draws(_SUBSETS, _QUERIES, count=5, seed=1))
    assert all((one.choosing + one.judging == 1).all() and one.choosing.sum() == CHOOSING for one in splits)
    assert len({tuple(one.choosing) for one in splits}) == 5
    for one in resampled_draws(_SUBSETS, _QUERIES, count=5, seed=1):
        assert one.choosing[CHOOSING:].sum() == one.judging[:CHOOSING].sum() == 0
        assert (one.choosing.sum(), one.judging.sum()) == (CHOOSING, _SUBSETS - CHOOSING)
        assert one.queries.sum() == _QUERIES


def test_a_record_that_lacks_subsets_is_refused(record: LabRecord, methods: list[AidedMethod]) -> None:
    whole = replace(record, plan=LabPlan(subsets=_SUBSETS + 1))
    with pytest.raises(NotReady, match="holds 40 of the 41 subsets"):
        Comparison(whole, _ROWS, methods, [])


def test_every_power_is_tried(methods: list[AidedMethod]) -> None:
    assert [aid.power for aid in methods[1].aids] == list(POWERS)
    assert [aid.method for aid in methods[0].aids] == ["trak"] * len(POWERS) + ["trak-common"] * len(POWERS)
