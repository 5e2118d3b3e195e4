"""Shares of works and contributors: they sum to 1, copies share one credit, noise earns nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.calibration.holders import whole
from creditline.calibration.remainder import ContributorInfluence, UnlistedInfluence
from creditline.calibration.shares import ScoredWork, credit_line, duplicate_groups

_INFLUENCES = st.floats(-5, 5, allow_subnormal=False)


def _work(
    work_id: str, influence: float, *, group: str = "", contributor: str = "ana", score: float = 0.0
) -> ScoredWork:
    return ScoredWork(work_id, whole(contributor), group or work_id, score or influence, influence)


@st.composite
def _found_works(draw: st.DrawFn) -> list[ScoredWork]:
    influences = draw(st.lists(_INFLUENCES, max_size=40))
    return [
        _work(
            f"w{row}",
            influence,
            group=draw(st.sampled_from([f"w{row}", "g1", "g2", "g3"])),
            contributor=draw(st.sampled_from(["ana", "bo", "cy"])),
        )
        for row, influence in enumerate(influences)
    ]


@given(_found_works(), st.floats(0, 100), st.integers(1, 10))
def test_shares_and_the_remainder_sum_to_one(found: list[ScoredWork], others: float, k: int) -> None:
    line = credit_line(duplicate_groups(found)[:k], UnlistedInfluence(others))
    assert sum(work.share for work in line.works) + line.remainder == pytest.approx(1.0, abs=1e-6)
    assert all(0.0 <= work.share <= 1.0 for work in line.works)


@given(_found_works(), st.floats(0, 100))
def test_contributors_shares_sum_to_the_works_shares(found: list[ScoredWork], others: float) -> None:
    line = credit_line(duplicate_groups(found), UnlistedInfluence(others))
    assert sum(person.share for person in line.contributors) == pytest.approx(
        sum(work.share for work in line.works), abs=1e-9
    )
    assert sum(person.works for person in line.contributors) == len(found)


@given(_found_works(), st.floats(0, 100))
def test_noise_earns_nothing(found: list[ScoredWork], others: float) -> None:
    line = credit_line(duplicate_groups(found), UnlistedInfluence(others))
    noise_only = {
        g.best.work_id for g in duplicate_groups(found) if all(m.expected_influence <= 0 for m in g.members)
    }
    assert all(work.share == 0.0 for work in line.works if work.work.work_id in noise_only)


@given(_found_works())
def test_every_work_is_listed_once_and_each_group_on_one_line(found: list[ScoredWork]) -> None:
    line = credit_line(duplicate_groups(found), UnlistedInfluence(1.0))
    named = [name for work in line.works for name in (work.work.work_id, *work.copies)]
    assert sorted(named) == sorted(work.work_id for work in found)
    assert len({work.work.duplicate_group for work in line.works}) == len(line.works)


@given(_found_works(), st.floats(0, 100))
def test_ranks_increase_as_shares_decrease(found: list[ScoredWork], others: float) -> None:
    line = credit_line(duplicate_groups(found), UnlistedInfluence(others))
    shares = [work.share for work in line.works]
    assert [work.rank for work in line.works] == list(range(1, len(shares) + 1))
    assert shares == sorted(shares, reverse=True)


def test_a_group_is_listed_under_its_best_score_with_the_sum_of_its_positive_parts() -> None:
    found = [
        _work("a", 1.0, group="g", score=0.5),
        _work("b", 2.0, group="g", score=0.7),
        _work("c", -9.0, group="g"),
    ]
    (line,) = credit_line(duplicate_groups(found), UnlistedInfluence(1.0)).works
    assert (line.work.work_id, line.copies, line.share) == ("b", ("a", "c"), 0.75)


def test_copies_of_two_contributors_credit_each_for_their_own_copy() -> None:
    found = [_work("a", 3.0, group="g", contributor="ana"), _work("b", 1.0, group="g", contributor="bo")]
    line = credit_line(duplicate_groups(found), UnlistedInfluence(0.0))
    assert [(p.name, p.share, p.works) for p in line.contributors] == [("ana", 0.75, 1), ("bo", 0.25, 1)]


def test_the_remainder_is_1_where_no_work_has_influence() -> None:
    line = credit_line(duplicate_groups([_work("a", -1.0), _work("b", 0.0)]), UnlistedInfluence(0.0))
    assert [work.share for work in line.works] == [0.0, 0.0]
    assert line.remainder == 1.0


def test_an_empty_list_leaves_all_to_the_remainder() -> None:
    assert credit_line((), UnlistedInfluence(0.0)).remainder == 1.0
    assert credit_line((), UnlistedInfluence(3.0)).remainder == 1.0


def test_what_a_contributor_earns_beyond_the_list_is_theirs_too() -> None:
    found = [_work("a", 3.0, contributor="ana"), _work("b", 1.0, contributor="bo")]
    earned = {
        "ana": ContributorInfluence(1.0),
        "cy": ContributorInfluence(5.0, error=0.5),
        "di": ContributorInfluence(0.2),
    }
    line = credit_line(duplicate_groups(found), UnlistedInfluence(6.0, earned=earned))
    shares = {person.name: (person.share, person.works, person.error) for person in line.contributors}
    # Two lines: the two largest, and Bo, who has a listed work.
    assert shares == {"cy": (0.5, 0, 0.05), "ana": (0.4, 1, 0.0), "bo": (0.1, 1, 0.0)}
    assert [person.listed for person in line.contributors] == pytest.approx([0.0, 0.3, 0.1])


def test_concentration_is_of_all_works_listed_or_not() -> None:
    alone = credit_line(duplicate_groups([_work("a", 2.0)]), UnlistedInfluence(0.0, works=99))
    assert alone.concentration == pytest.approx(1.0)
    even = credit_line(
        duplicate_groups([_work("a", 2.0)]), UnlistedInfluence(198.0, squares=4.0 * 99, works=99)
    )
    assert even.concentration == pytest.approx(0.0, abs=1e-12)
    assert credit_line((), UnlistedInfluence(0.0)).concentration == 0.0


def test_equal_parts_are_of_all_works_listed_or_not() -> None:
    line = credit_line(
        duplicate_groups([_work("a", 2.0)]), UnlistedInfluence(198.0, squares=4.0 * 99, works=99)
    )
    assert line.population == 100
    assert line.equal_parts == pytest.approx(100.0)
    alone = credit_line(duplicate_groups([_work("a", 2.0)]), UnlistedInfluence(0.0, works=99))
    assert alone.equal_parts == pytest.approx(1.0)
