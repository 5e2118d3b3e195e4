"""What an answer says of found works: shares with their ends, people over their whole corpus."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from creditline.api.answers import CreditedContributor, CreditedHolder, ReleaseSummary
from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals
from creditline.calibration.remainder import CorpusSample
from creditline.calibration.shares import duplicate_groups
from creditline.corpus.identity import Bearers, People, key_of_name, keyed_holders
from creditline.gateway.use_cases.answers.crediting import EVERY_KEY, Credited, credited, line_of, scored
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.index import Hit

_INTERVALS = AnswerIntervals(
    Intervals((0.0, 1.0), (-0.1, 0.2), (0.1, 0.6), 0.9),
    DeviationInterval(-0.5, 0.5),
    DeviationInterval(-0.2, 0.4),
)
_QUERY = np.array([1.0, 0.0], dtype=np.float32)
# Cosines 1, 0.8, 0.6 and 0 with the query; the calibration takes each for what it is.
_VECTORS = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], dtype=np.float32)
_IDS, _PEOPLE = ("a", "b", "c", "d"), ("ana", "bo", "ana", "cy")


def _release(intervals: AnswerIntervals | None = _INTERVALS) -> ServedRelease:
    summary = ReleaseSummary("r", datetime(2026, 1, 1, tzinfo=UTC), "g", "c", "t", 2, 4, "works-r")
    sample = CorpusSample.draw(_IDS, [keyed_holders(name, "") for name in _PEOPLE], _VECTORS, seed=0)
    return ServedRelease(summary, Calibration((0.0, 1.0), (0.0, 1.0)), intervals, sample)


def _hits(group_of_b: str = "b") -> dict[str, Hit]:
    cosines = _VECTORS @ _QUERY
    groups = ("a", group_of_b)
    return {
        work: Hit(work, float(cosine), person, work, work, "PD", group)
        for work, cosine, person, group in zip(_IDS, cosines, _PEOPLE, groups, strict=False)
    }


def _answer(
    release: ServedRelease, hits: dict[str, Hit], works: int | None = None, people: People = EVERY_KEY
) -> Credited:
    groups = duplicate_groups(scored(list(hits.values()), release.calibration, people))
    line = line_of(groups, _QUERY, release, works=works, people=people)
    return credited(line, groups, hits, release, people=people)


def test_people_are_credited_with_works_that_are_not_listed() -> None:
    answer = _answer(_release(), _hits())
    total = 1.0 + 0.8 + 0.6
    shares = {person.name: person.share for person in answer.contributors}
    assert shares == pytest.approx({"ana": 1.6 / total, "bo": 0.8 / total}, abs=1e-6)
    assert answer.remainder == pytest.approx(0.6 / total, abs=1e-6)


def _listed(answer: Credited) -> list[CreditedContributor]:
    """Contributors of listed works."""
    return [person for person in answer.contributors if person.works]


def test_two_spellings_never_split_one_persons_share() -> None:
    hits = _hits()
    hits["b"] = hits["b"]._replace(contributor="ANA\u200b")
    (person,) = _listed(_answer(_release(), hits))
    assert (person.name, person.works) == ("ana", 2)
    assert person.share == pytest.approx(1.0, abs=1e-6)


def test_merged_people_have_one_share_under_the_first_name_and_namesakes_have_two() -> None:
    merged = People(Bearers([("Ana", ""), ("Bo", "")]), [(key_of_name("bo"), key_of_name("ana"))])
    (person,) = _listed(_answer(_release(), _hits(), people=merged))
    assert (person.name, person.works) == ("Bo", 2)
    hits = _hits()
    hits["a"] = hits["a"]._replace(contributor="bo", contributor_id="account:8")
    hits["b"] = hits["b"]._replace(contributor_id="account:7")
    namesakes = _listed(_answer(_release(), hits))
    assert [(one.name, one.contributor_id) for one in namesakes] == [("bo", "account:8"), ("bo", "account:7")]


def _divided(holders: tuple[tuple[str, float], ...], contributor: str = "ana") -> dict[str, Hit]:
    """The hits, of which the first work's credit is divided."""
    hits = _hits()
    hits["a"] = hits["a"]._replace(contributor=contributor, rights_holders=holders)
    return hits


@pytest.mark.parametrize(("ann", "ben"), [(60.0, 40.0), (50.0, 50.0), (33.34, 66.65)])
def test_rights_holders_have_their_percentages_of_a_works_share(ann: float, ben: float) -> None:
    answer = _answer(_release(), _divided((("Ann", ann), ("Ben", ben))))
    first, second = answer.works
    assert (first.contributor, first.holders) == (
        "ana",
        (CreditedHolder("Ann", ann), CreditedHolder("Ben", ben)),
    )
    assert second.holders == ()
    shares = {person.name: (person.listed_share, person.works) for person in _listed(answer)}
    whole = ann + ben
    assert shares == {
        "Ann": (pytest.approx(first.share * ann / whole), 1),
        "Ben": (pytest.approx(first.share * ben / whole), 1),
        "bo": (pytest.approx(second.share), 1),
    }


def test_the_estimate_over_all_works_follows_the_rights_holders_too() -> None:
    rights = {"a": (("Ann", 60.0), ("Bo", 40.0)), "c": (("Ann", 25.0), ("BO\u200b", 75.0))}
    keyed = [keyed_holders(name, "", rights.get(work, ())) for work, name in zip(_IDS, _PEOPLE, strict=True)]
    release = replace(_release(), sample=CorpusSample.draw(_IDS, keyed, _VECTORS, seed=0))
    hits = {"a": _divided(rights["a"])["a"]}
    shares = {person.name: person.share for person in _answer(release, hits).contributors}
    total = 1.0 + 0.8 + 0.6
    # Bo made the second work alone; neither that nor the third is listed.
    assert shares == pytest.approx(
        {"Ann": (0.6 + 0.25 * 0.6) / total, "Bo": (0.4 + 0.8 + 0.75 * 0.6) / total}, abs=1e-6
    )


def test_spellings_and_merged_names_of_one_person_among_a_works_holders_add_up() -> None:
    people = People(Bearers([("Ann", ""), ("Ben", "")]), [(key_of_name("ann"), key_of_name("A. Lee"))])
    hits = _divided((("A. Lee", 30.0), ("Ben", 40.0), ("ANN\u200b", 30.0)))
    answer = _answer(_release(), hits, people=people)
    assert answer.works[0].holders == (CreditedHolder("Ann", 60.0), CreditedHolder("Ben", 40.0))
    share = answer.works[0].share
    ann, ben = (next(each for each in answer.contributors if each.name == name) for name in ("Ann", "Ben"))
    assert (ann.works, ann.listed_share, ben.listed_share) == (
        1,
        pytest.approx(0.6 * share),
        pytest.approx(0.4 * share),
    )


def test_the_contributors_id_is_theirs_among_the_holders_and_nobody_elses() -> None:
    hits = _divided((("Ann", 60.0), ("Ben", 40.0)), contributor="ANN")
    hits["a"] = hits["a"]._replace(contributor_id="account:7")
    answer = _answer(_release(), hits)
    assert [each.contributor_id for each in answer.works[0].holders] == ["account:7", ""]
    ids = {person.name: person.contributor_id for person in _listed(answer)}
    assert (ids["Ann"], ids["Ben"]) == ("account:7", "")


@pytest.mark.parametrize("spelling", ["ana", "ANA\u200b"])
def test_a_work_whose_only_holder_is_its_contributor_is_not_divided(spelling: str) -> None:
    people = People(Bearers([("ana", "")]))
    answer = _answer(_release(), _divided(((spelling, 100.0),)), people=people)
    assert answer == _answer(_release(), _hits(), people=people)


def test_a_publisher_with_all_rights_is_credited_in_place_of_the_contributor() -> None:
    answer = _answer(_release(), _divided((("Press", 100.0),)))
    assert answer.works[0].holders == (CreditedHolder("Press", 100.0),)
    assert {person.name for person in _listed(answer)} == {"Press", "bo"}


def test_every_share_lies_between_its_ends() -> None:
    answer = _answer(_release(), _hits())
    for credit in (*answer.works, *answer.contributors):
        assert credit.share_low is not None
        assert credit.share_high is not None
        assert 0.0 <= credit.share_low <= credit.share <= credit.share_high <= 1.0
    low, high = answer.remainder_ends
    assert low is not None
    assert high is not None
    assert low < answer.remainder < high
    assert answer.coverage == 0.9


def test_copies_have_the_sum_of_their_bands() -> None:
    (line,) = _answer(_release(), _hits(group_of_b="a")).works
    # At cosines 1 and 0.8 the band goes from 0.2 and 0.14 to 0.6 and 0.5; no share is above 1.
    assert line.share_low == pytest.approx(0.34, abs=1e-6)
    assert line.share_high == 1.0


def test_a_release_that_cannot_say_how_sure_it_is_says_nothing() -> None:
    answer = _answer(_release(intervals=None), _hits())
    assert answer.coverage is None
    assert answer.remainder_ends == (None, None)
    assert all(credit.share_high is None for credit in (*answer.works, *answer.contributors))
    sure = _answer(_release(), _hits())
    assert [replace(work, share_low=None, share_high=None) for work in sure.works] == list(answer.works)


def _added_hit(number: int) -> Hit:
    """A work that the build holds and the release does not know."""
    return Hit(f"new{number}", 0.9, "eve", "new", "new", "PD", f"new{number}")


@pytest.mark.parametrize("added", [1, 2, 3, 40])
@pytest.mark.parametrize("more", [0, 1, 1000])
def test_works_that_the_release_does_not_know_are_listed_and_everything_sums_to_one(
    added: int, more: int
) -> None:
    hits = _hits() | {f"new{number}": _added_hit(number) for number in range(added)}
    answer = _answer(_release(), hits, works=4 + added + more)
    assert sum(work.share for work in answer.works) + answer.remainder == pytest.approx(1.0, abs=1e-9)
    assert sum(person.share for person in answer.contributors) <= 1.0 + 1e-9
    assert answer.corpus_works == 4 + added + more
    assert 1.0 <= answer.equal_parts <= answer.corpus_works
    assert 0.0 <= answer.concentration <= 1.0


def test_a_count_that_is_behind_does_no_harm() -> None:
    hits = _hits() | {f"new{number}": _added_hit(number) for number in range(5)}
    answer = _answer(_release(), hits, works=4)
    assert sum(work.share for work in answer.works) + answer.remainder == pytest.approx(1.0, abs=1e-9)
    assert answer.remainder == 0.0
