"""The remainder, computed from all works and from a sample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.holders import whole
from creditline.calibration.remainder import CorpusSample, UnlistedInfluence

_CURVE = Calibration((0.0, 0.2, 1.0), (-0.5, 0.0, 2.0))
_ANA, _BO = whole("ana"), whole("bo")
# Whose each work is: twenty have made many works or few.
_CREATORS = [f"person {int(20 * part * part)}" for part in np.random.default_rng(11).random(500)]
_WHOLE = list(map(whole, _CREATORS))


def _unit_rows(count: int, width: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _slow(
    ids: list[str], vectors: NDArray[np.float32], query: NDArray[np.float32], listed: set[str]
) -> float:
    total = 0.0
    for work_id, vector in zip(ids, vectors, strict=True):
        if work_id not in listed:
            total += max(float(_CURVE.expected_influence([float(vector @ query)])[0]), 0.0)
    return total


@pytest.mark.parametrize("listed", [set(), {"w3"}, {"w0", "w7", "w199"}])
def test_all_works_but_the_listed_are_summed(listed: set[str]) -> None:
    ids = [f"w{row}" for row in range(200)]
    vectors, query = _unit_rows(200, 16, 1), _unit_rows(1, 16, 2)[0]
    sample = CorpusSample.draw(ids, _WHOLE[: len(ids)], vectors, seed=0)
    assert sample.others(query, _CURVE, dict.fromkeys(listed, _ANA)).influence == pytest.approx(
        _slow(ids, vectors, query, listed)
    )


def test_a_sample_estimates_the_sum_without_bias() -> None:
    ids = [f"w{row}" for row in range(500)]
    vectors, query = _unit_rows(500, 16, 3), _unit_rows(1, 16, 4)[0]
    listed = {ids[row] for row in np.argsort(-(vectors @ query))[:10]}
    estimates = [
        CorpusSample.draw(ids, _WHOLE[: len(ids)], vectors, seed=seed, size=100)
        .others(query, _CURVE, dict.fromkeys(listed, _ANA))
        .influence
        for seed in range(300)
    ]
    deviation = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - _slow(ids, vectors, query, listed)) < 4 * deviation


def test_the_same_seed_draws_the_same_sample() -> None:
    ids, vectors = [f"w{row}" for row in range(50)], _unit_rows(50, 4, 5)
    assert (
        CorpusSample.draw(ids, _WHOLE[: len(ids)], vectors, seed=9, size=20).work_ids
        == CorpusSample.draw(ids, _WHOLE[: len(ids)], vectors, seed=9, size=20).work_ids
    )


def test_the_remainder_is_0_when_every_work_is_listed() -> None:
    sample = CorpusSample.draw(["a", "b"], [_ANA, _BO], _unit_rows(2, 4, 6), seed=0)
    assert sample.others(_unit_rows(1, 4, 7)[0], _CURVE, {"a": _ANA, "b": _BO}) == UnlistedInfluence(0.0)


def _slow_sum(
    ids: list[str], vectors: NDArray[np.float32], query: NDArray[np.float32], listed: set[str], person: str
) -> float:
    mine = [row for row, name in enumerate(_CREATORS[: len(ids)]) if name == person]
    return _slow([ids[row] for row in mine], vectors[mine], query, listed)


def test_a_contributors_works_are_summed_over_the_whole_corpus() -> None:
    ids = [f"w{row}" for row in range(200)]
    vectors, query = _unit_rows(200, 16, 1), _unit_rows(1, 16, 2)[0]
    listed = {ids[row]: _WHOLE[row] for row in np.argsort(-(vectors @ query))[:3]}
    others = CorpusSample.draw(ids, _WHOLE[:200], vectors, seed=0).others(query, _CURVE, listed)
    assert {person for ((person, _),) in listed.values()} <= set(others.earned)
    for person, earned in others.earned.items():
        assert earned.influence == pytest.approx(_slow_sum(ids, vectors, query, set(listed), person))
        assert earned.error == 0.0


def test_the_largest_sums_include_contributors_without_a_listed_work() -> None:
    ids = [f"w{row}" for row in range(200)]
    vectors, query = _unit_rows(200, 16, 1), _unit_rows(1, 16, 2)[0]
    others = CorpusSample.draw(ids, _WHOLE[:200], vectors, seed=0).others(
        query, _CURVE, {"w0": whole("nobody")}
    )
    sums = {name: _slow_sum(ids, vectors, query, {"w0"}, name) for name in set(_CREATORS[:200])}
    assert max(sums, key=lambda name: sums[name]) in others.earned


def test_the_error_of_a_sampled_sum_is_its_deviation_over_samples() -> None:
    ids = [f"w{row}" for row in range(500)]
    vectors, query = _unit_rows(500, 16, 3), _unit_rows(1, 16, 4)[0]
    person = max(set(_CREATORS), key=_CREATORS.count)
    drawn = [
        CorpusSample.draw(ids, _WHOLE, vectors, seed=seed, size=200)
        .others(query, _CURVE, {"w0": whole(person)})
        .earned[person]
        for seed in range(300)
    ]
    estimates = [earned.influence for earned in drawn]
    truth = _slow_sum(ids, vectors, query, {"w0"}, person)
    assert abs(np.mean(estimates) - truth) < 4 * np.std(estimates) / np.sqrt(len(estimates))
    assert np.mean([earned.error for earned in drawn]) == pytest.approx(np.std(estimates), rel=0.15)


def test_withheld_influence_stays_in_the_remainder_and_is_credited_to_no_one() -> None:
    ids = [f"w{row}" for row in range(200)]
    vectors, query = _unit_rows(200, 16, 1), _unit_rows(1, 16, 2)[0]
    sample = CorpusSample.draw(ids, _WHOLE[:200], vectors, seed=0)
    # So many listed works that everybody's sum is told.
    listed = {ids[row]: _WHOLE[row] for row in range(40)}
    whole = sample.others(query, _CURVE, listed)
    work = 40 + int(np.argmax(vectors[40:] @ query))
    leaving = next(name for name in sorted(whole.earned) if name != _CREATORS[work])
    left = sample.others(query, _CURVE, listed, sample.withheld({ids[work]}, {leaving}))
    assert left.influence == whole.influence
    assert leaving not in left.earned
    part = _slow([ids[work]], vectors[[work]], query, set())
    assert part > 0.0
    assert _CREATORS[work] in left.earned
    for person, earned in left.earned.items():
        held = part if person == _CREATORS[work] else 0.0
        assert earned.influence == pytest.approx(whole.earned[person].influence - held)


def _release(works: int, *, size: int = 65_536) -> tuple[list[str], CorpusSample, NDArray[np.float32]]:
    """Ids of a release's works, a sample of them, and a query."""
    ids = [f"w{row}" for row in range(works)]
    vectors, query = _unit_rows(works, 16, 1), _unit_rows(1, 16, 2)[0]
    return ids, CorpusSample.draw(ids, _WHOLE[:works], vectors, seed=0, size=size), query


@pytest.mark.parametrize("known", [0, 1, 39, 40])
@pytest.mark.parametrize("unknown", [0, 1, 30])
@pytest.mark.parametrize("unlisted", [0, 1, 500])
def test_a_build_may_hold_works_that_the_release_does_not_know(
    known: int, unknown: int, unlisted: int
) -> None:
    ids, sample, query = _release(40)
    listed = {**dict.fromkeys(ids[:known], _ANA), **{f"new{row}": _BO for row in range(unknown)}}
    others = sample.others(query, _CURVE, listed, works=len(listed) + unlisted)
    assert others.works == unlisted
    assert np.isfinite([others.influence, others.squares]).all()
    assert others.influence >= 0.0
    assert (others.influence > 0.0) is (unlisted > 0 and known < 39), "the last two works hold nothing"
    for earned in others.earned.values():
        assert 0.0 <= earned.influence <= others.influence
        assert np.isfinite(earned.error)


def test_unlisted_works_of_the_build_have_the_mean_influence_of_those_of_the_release() -> None:
    ids, sample, query = _release(40)
    listed = {ids[0]: _ANA, "new": _BO}
    others = sample.others(query, _CURVE, listed, works=42 + 39)
    # 39 works of the release are not listed; 79 of the build are.
    assert others.influence == pytest.approx(79 / 39 * _slow(ids, sample.vectors, query, {ids[0]}))


def test_works_that_are_not_in_the_release_earn_no_credit() -> None:
    ids, sample, query = _release(40)
    listed = {work_id: sample.holders[row] for row, work_id in enumerate(ids[:20])}
    own, added = sample.others(query, _CURVE, listed), sample.others(query, _CURVE, listed, works=4_000)
    assert added.earned == own.earned
    assert added.influence > own.influence


def test_a_build_that_lacks_works_of_the_release_keeps_sums_within_the_remainder() -> None:
    _, sample, query = _release(40)
    others = sample.others(query, _CURVE, {"new": _BO}, works=11)
    assert others.works == 10
    assert sum(earned.influence for earned in others.earned.values()) <= others.influence


def test_where_all_known_works_are_listed_the_others_hold_no_more_than_the_least_of_them() -> None:
    ids, sample, query = _release(40)
    least = float(_CURVE.expected_positive(sample.vectors @ query).min())
    others = sample.others(query, _CURVE, dict.fromkeys(ids, _ANA), works=47)
    assert (others.influence, others.works, others.earned) == (pytest.approx(7 * least), 7, {})


def test_a_sample_represents_a_build_with_more_works_too() -> None:
    ids, sample, query = _release(200, size=100)
    listed = {f"new{row}": _BO for row in range(150)} | {ids[0]: _ANA}
    others = sample.others(query, _CURVE, listed, works=400)
    assert others.works == 400 - 151
    assert np.isfinite(others.influence)
    assert all(earned.influence <= others.influence for earned in others.earned.values())


def test_a_sample_that_has_grown_by_added_works_estimates_the_sum_of_both() -> None:
    ids, rows = [f"w{row}" for row in range(600)], _unit_rows(600, 16, 3)
    query, calibration = rows[0], Calibration((-1.0, 0.0, 1.0), (0.0, 0.0, 1.0))
    base = CorpusSample.draw(ids[:400], [_ANA] * 400, rows[:400], seed=0, size=100)
    added = CorpusSample(tuple(ids[400:]), (_BO,) * 200, rows[400:], 200)
    truth = calibration.expected_positive(rows @ query).sum()
    grown = [base.with_added(added, seed=seed) for seed in range(200)]
    assert {(sample.population, len(sample.work_ids)) for sample in grown} == {(600, 150)}
    found = [sample.others(query, calibration, {}).influence for sample in grown]
    assert abs(np.mean(found) / truth - 1.0) < 0.15
    everything = CorpusSample.draw(ids[:400], [_ANA] * 400, rows[:400], seed=0).with_added(added, seed=0)
    assert everything.others(query, calibration, {}).influence == pytest.approx(truth)
    assert everything.with_added(CorpusSample((), (), rows[:0], 0), seed=0) is everything
