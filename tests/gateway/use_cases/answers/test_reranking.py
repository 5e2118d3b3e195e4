"""Order and influence of re-ranked candidates, among them works without a gradient row, and what is left."""

from __future__ import annotations

import math

import numpy as np
import pytest

from creditline.calibration import Calibration
from creditline.calibration.remainder import CorpusSample
from creditline.calibration.reranking import Reranking
from creditline.calibration.shares import CreditLine
from creditline.corpus.identity import Bearers, People, key_of_name, keyed_holders
from creditline.gateway.use_cases.answers.crediting import EVERY_KEY, credited, line_of, scored
from creditline.gateway.use_cases.answers.reranking import Candidates, reranked
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.index import Hit
from tests.gateway.use_cases.answers.test_crediting import _release
from tests.rerankable import INTERVALS

# The kernel takes scores for what they are, in hundredths, and each work has at least some influence.
_CURVE = Calibration((0.0, 100.0), (0.0, 1.0), (0.05, 1.0))
_RERANKING = Reranking(_CURVE, INTERVALS, 0.0, 400)
_COSINES = {"a": 1.0, "b": 0.8, "c": 0.6, "new": 0.7}
_PEOPLE = {"a": "ana", "b": "bo", "c": "ana", "new": "di"}
_QUERY = np.array([1.0, 0.0], dtype=np.float32)


def _hits(*ids: str, copies: dict[str, str] | None = None) -> dict[str, Hit]:
    groups = copies or {}
    return {
        each: Hit(each, _COSINES[each], _PEOPLE[each], each, each, "PD", groups.get(each, each))
        for each in ids
    }


def _candidates(hits: dict[str, Hit], scores: dict[str, float], people: People = EVERY_KEY) -> Candidates:
    calibration = Calibration((0.0, 1.0), (0.0, 1.0))
    return reranked(scored(list(hits.values()), calibration, people), scores, _RERANKING, calibration)


def _line(candidates: Candidates, k: int, people: People = EVERY_KEY, works: int | None = None) -> CreditLine:
    listed = candidates.groups[:k]
    return line_of(listed, _QUERY, _release(), people=people, works=works, candidates=candidates)


def test_works_are_ordered_by_the_kernel_and_one_without_a_row_keeps_the_influence_of_its_cosine() -> None:
    candidates = _candidates(_hits("a", "b", "c", "new"), {"a": 10.0, "b": 90.0, "c": 20.0})

    assert [group.best.work_id for group in candidates.groups] == ["b", "new", "c", "a"]
    assert candidates.reranked == 3
    assert candidates.expected == pytest.approx({"a": 0.1, "b": 0.9, "c": 0.2, "new": 0.7})
    assert [group.best.kernel_score for group in candidates.groups] == [90.0, None, 20.0, 10.0]


def test_works_on_a_plateau_of_the_curve_are_ordered_by_the_kernel_too() -> None:
    candidates = _candidates(_hits("a", "b", "c"), {"a": 110.0, "b": 130.0, "c": 120.0})

    assert {group.part for group in candidates.groups} == {1.0}
    assert [group.best.work_id for group in candidates.groups] == ["b", "c", "a"]


def test_the_remainder_holds_unlisted_candidates_by_the_kernel_and_all_others_by_cosine() -> None:
    candidates = _candidates(_hits("a", "b", "c"), {"a": 10.0, "b": 90.0, "c": 20.0})

    line = _line(candidates, 1)

    # Of c and a the positive curve counts; the fourth work has cosine 0, and no influence.
    rest = (0.05 + 0.95 * 0.2) + (0.05 + 0.95 * 0.1)
    total = 0.9 + rest
    assert line.remainder == pytest.approx(rest / total)
    assert [(work.work.work_id, work.share) for work in line.works] == [("b", pytest.approx(0.9 / total))]
    assert line.population == 4
    shares = {person.name: person.share for person in line.contributors}
    assert shares == pytest.approx({"name:bo": 0.9 / total} | _named(shares, 0.3 / total))


def _named(shares: dict[str, float], ana: float) -> dict[str, float]:
    """Ana is listed only where hers is the largest share."""
    return {name: ana for name in shares if name != "name:bo"}


def test_a_long_list_and_a_short_one_divide_the_same_total_but_for_noise_that_earns_nothing() -> None:
    candidates = _candidates(_hits("a", "b", "c"), {"a": 10.0, "b": 90.0, "c": 20.0})

    whole = _line(candidates, 3)

    assert whole.remainder == pytest.approx(0.0, abs=1e-9)
    assert [work.share for work in whole.works] == pytest.approx([0.9 / 1.2, 0.2 / 1.2, 0.1 / 1.2])


def test_copies_among_the_candidates_share_one_line_and_merged_people_one_share() -> None:
    people = People(Bearers([("Ana", ""), ("Bo", "")]), [(key_of_name("bo"), key_of_name("ana"))])
    hits = _hits("a", "b", "c", copies={"a": "one", "c": "one"})
    candidates = _candidates(hits, {"a": 10.0, "b": 25.0, "c": 20.0}, people)

    line = _line(candidates, 2, people)

    first = line.works[0]
    assert (first.work.work_id, first.copies) == ("c", ("a",))
    assert [work.share for work in line.works] == pytest.approx([0.3 / 0.55, 0.25 / 0.55])
    assert [(person.share, person.works) for person in line.contributors if person.works] == [
        (pytest.approx(1.0), 3)
    ]


def test_in_a_sampled_release_the_works_that_are_no_candidates_are_extrapolated() -> None:
    """Two of 100 works are sampled, of which one is a candidate: the other stands for all the rest."""
    vectors = np.array([[1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=np.float32)
    sample = CorpusSample(("a", "s"), (keyed_holders("ana", ""), keyed_holders("cy", "")), vectors, 100)
    plain = _release()
    release = ServedRelease(plain.summary, plain.calibration, plain.intervals, sample)
    candidates = _candidates(_hits("a", "b"), {"a": 10.0, "b": 90.0})

    line = line_of(candidates.groups[:1], _QUERY, release, works=100, candidates=candidates)

    rest = (0.05 + 0.95 * 0.1) + 98 * 0.5
    assert line.remainder == pytest.approx(rest / (0.9 + rest))
    assert line.population == 100


def test_ranges_are_those_of_re_ranked_answers_and_of_a_work_without_a_row_those_of_its_cosine() -> None:
    hits = _hits("b", "new")
    candidates, release = _candidates(hits, {"b": 4.0}), _release()
    line = line_of(candidates.groups, _QUERY, release, candidates=candidates)

    answer = credited(line, candidates.groups, hits, release, reranking=_RERANKING)

    shares = {work.id: work for work in answer.works}
    low, high = (float(ends[0]) for ends in INTERVALS.works.of([4.0]))
    assert (shares["b"].share_low, shares["b"].share_high) == (
        pytest.approx(min(low, shares["b"].share)),
        pytest.approx(max(high, shares["b"].share)),
    )
    assert release.intervals is not None
    of_cosine = [float(ends[0]) for ends in release.intervals.works.of([0.7])]
    assert shares["new"].share_low == pytest.approx(max(min(of_cosine[0], shares["new"].share), 0.0))
    assert shares["new"].share_high == pytest.approx(min(max(of_cosine[1], shares["new"].share), 1.0))
    assert answer.coverage == INTERVALS.coverage


def test_where_the_release_has_no_ranges_a_work_without_a_row_has_those_of_re_ranked_answers() -> None:
    hits, release = _hits("b", "new"), _release(None)
    candidates = _candidates(hits, {"b": 4.0})
    line = line_of(candidates.groups, _QUERY, release, candidates=candidates)

    answer = credited(line, candidates.groups, hits, release, reranking=_RERANKING)

    shares = {work.id: work for work in answer.works}
    for work_id, at in (("b", 4.0), ("new", _COSINES["new"])):
        low, high = (float(ends[0]) for ends in INTERVALS.works.of([at]))
        work = shares[work_id]
        assert work.share_low == pytest.approx(min(low, work.share))
        assert work.share_high == pytest.approx(min(max(high, work.share), 1.0))
    assert answer.coverage == INTERVALS.coverage
