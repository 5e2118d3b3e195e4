"""Credit that is divided among several people: sums per person against a loop, and their standard errors."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.holders import Division, Holders, of_people, summed, whole
from creditline.calibration.remainder import CorpusSample
from creditline.calibration.shares import ScoredWork, credit_line, duplicate_groups

_CURVE = Calibration((0.0, 0.2, 1.0), (-0.5, 0.0, 2.0))
_PEOPLE = [f"person {number}" for number in range(12)]


def _unit_rows(count: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _divided(count: int, seed: int = 3) -> list[Holders]:
    """Works of one to four people; some contributors have no part."""
    rng, holders = np.random.default_rng(seed), []
    for _ in range(count):
        people = rng.permutation(_PEOPLE)[: rng.integers(1, 5)].tolist()
        fractions = rng.dirichlet(np.ones(len(people))).tolist()
        without_part = ((_PEOPLE[0], 0.0),) if _PEOPLE[0] not in people and rng.random() < 0.3 else ()
        holders.append((*zip(people, fractions, strict=True), *without_part))
    return holders


def _slow(
    ids: list[str],
    holders: list[Holders],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    listed: set[str],
) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for work_id, parts, vector in zip(ids, holders, vectors, strict=True):
        influence = max(float(_CURVE.expected_influence([float(vector @ query)])[0]), 0.0)
        for person, fraction in parts if work_id not in listed else ():
            sums[person] += fraction * influence
    return sums


def test_a_person_has_their_fractions_of_all_works_that_are_not_listed() -> None:
    ids, holders, vectors = [f"w{row}" for row in range(200)], _divided(200), _unit_rows(200, 1)
    query = _unit_rows(1, 2)[0]
    listed = {ids[row]: holders[row] for row in np.argsort(-(vectors @ query))[:12]}
    earned = CorpusSample.draw(ids, holders, vectors, seed=0).others(query, _CURVE, listed).earned
    slow = _slow(ids, holders, vectors, query, set(listed))
    assert {person: each.influence for person, each in earned.items()} == pytest.approx(dict(slow))
    assert {each.error for each in earned.values()} == {0.0}


def test_the_error_of_a_sampled_sum_of_fractions_is_its_deviation_over_samples() -> None:
    ids, holders, vectors = [f"w{row}" for row in range(500)], _divided(500), _unit_rows(500, 3)
    query, person = _unit_rows(1, 4)[0], _PEOPLE[5]
    drawn = [
        CorpusSample.draw(ids, holders, vectors, seed=seed, size=200)
        .others(query, _CURVE, {"w0": whole(person)})
        .earned[person]
        for seed in range(300)
    ]
    estimates = [earned.influence for earned in drawn]
    truth = _slow(ids, holders, vectors, query, {"w0"})[person]
    assert abs(np.mean(estimates) - truth) < 4 * np.std(estimates) / np.sqrt(len(estimates))
    assert np.mean([earned.error for earned in drawn]) == pytest.approx(np.std(estimates), rel=0.15)


def test_two_keys_of_one_person_in_one_work_are_one_part_of_it() -> None:
    holders = [(("ann", 0.25), ("anne", 0.5), ("bo", 0.25)), (("anne", 1.0), ("ann", 0.0)), whole("bo")]
    people = of_people(holders, lambda key: "ann" if key == "anne" else key)
    assert people == ((("ann", 0.75), ("bo", 0.25)), whole("ann"), whole("bo"))
    sums, squares = Division.of(people).sums(np.array([4.0, 2.0, 1.0]))
    assert (sums.tolist(), squares.tolist()) == ([5.0, 2.0], [13.0, 2.0])


def test_of_no_works_nobody_has_a_part() -> None:
    sums, squares = Division.of(of_people((), str.upper)).sums(np.empty(0))
    assert (len(sums), len(squares)) == (0, 0)


def test_sums_of_undivided_works_are_those_of_counting_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    numbers, parts = rng.integers(0, 7, 1000), rng.random(1000)
    holders = [whole(_PEOPLE[number]) for number in numbers]
    division = Division.of(holders)
    order = [division.number_of[_PEOPLE[number]] for number in range(7)]
    sums, squares = division.sums(parts)
    np.testing.assert_array_equal(sums[order], np.bincount(numbers, weights=parts))
    np.testing.assert_array_equal(squares[order], np.bincount(numbers, weights=np.square(parts)))
    # One divided work more does not change the sums of the others.
    divided = Division.of([*holders, (("x", 0.5), ("y", 0.5))])
    np.testing.assert_array_equal(divided.sums(np.append(parts, 0.0))[0][:7], sums)


@pytest.mark.parametrize("leaving", ["ann", "cy"])
def test_of_a_work_with_a_withdrawn_holder_nobody_is_credited_and_its_influence_remains(leaving: str) -> None:
    # Cy has no part of the first work but may withdraw it.
    holders: list[Holders] = [(("ann", 0.5), ("bo", 0.5), ("cy", 0.0)), whole("bo"), whole("di")]
    vectors = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (3, 1))
    sample = CorpusSample.draw(["a", "b", "c"], holders, vectors, seed=0)
    listed, query = {"new": whole("di")}, vectors[0]
    left = sample.others(query, _CURVE, listed, sample.withheld((), {leaving}), works=4)
    assert leaving not in left.earned
    assert sum(each.influence for each in left.earned.values()) == pytest.approx(4.0)
    assert left.influence == sample.others(query, _CURVE, listed, works=4).influence


def test_a_listed_works_share_is_divided_and_counts_as_a_work_of_each_holder() -> None:
    found = [
        ScoredWork("a", summed([("ann", 0.6), ("ben", 0.4)]), "a", 0.9, 3.0),
        ScoredWork("b", whole("ben"), "a", 0.8, 1.0),
    ]
    sample = CorpusSample.draw(["a", "b"], [each.holders for each in found], _unit_rows(2, 1), seed=0)
    holders = {each.work_id: each.holders for each in found}
    line = credit_line(duplicate_groups(found), sample.others(_unit_rows(1, 2)[0], _CURVE, holders))
    assert [(each.name, each.works) for each in line.contributors] == [("ben", 2), ("ann", 1)]
    assert [each.share for each in line.contributors] == pytest.approx([2.2 / 4, 1.8 / 4])
    assert [each.listed for each in line.contributors] == pytest.approx([2.2 / 4, 1.8 / 4])
