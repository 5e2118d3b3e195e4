"""The fast core of the figure `bring.spellings_withdrawn`, and people and filters in real answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from creditline.api.answers import Person, WorkFilter
from creditline.errors import InvalidInput, NotFound
from tests.benchmarks.bring.spellings import (
    NAMES,
    OTHERS,
    Place,
    judged,
    running,
    spelled_corpus,
    withdrawn_share,
)

# The fixture embeds a corpus and starts three processes, which takes long on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_FEW = (NAMES[0][:8], NAMES[2][:4])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(spelled_corpus(_FEW), tmp_path_factory.mktemp("spelled")) as place:
        yield place


def test_one_request_leaves_out_every_spelling_and_nobody_else(place: Place) -> None:
    assert withdrawn_share(list(judged(place, _FEW))) == 1.0
    for spellings in _FEW:
        place.client.revoke_contributor(spellings[-1])
    assert len(place.ask().works) == len(place.corpus)


def test_merged_people_are_credited_and_withdrawn_as_one_until_it_is_revoked(place: Place) -> None:
    person, other = Person(name="Ann Smith"), Person(name="anne smith")
    before = {each.name: each.share for each in place.ask().contributors}
    merge = place.client.merge_contributors(person, other, reason="one person").merge
    after = {each.name: each.share for each in place.ask().contributors}
    assert after["Ann Smith"] == pytest.approx(before["Ann Smith"] + before["Anne Smith"], abs=1e-6)
    assert "Anne Smith" not in after
    assert [each.id for each in place.client.merges()] == [merge.id]
    place.client.withdraw_contributor("Anne Smith")
    assert "Ann Smith" not in {each.name for each in place.ask().contributors}
    place.client.revoke_merge(other, person)
    names = {each.name for each in place.ask().contributors}
    assert "Ann Smith" in names
    assert "Anne Smith" not in names
    place.client.revoke_contributor("Anne Smith")
    assert {each.name: each.share for each in place.ask().contributors} == pytest.approx(before, abs=1e-6)
    assert (list(place.client.merges()), len(list(place.client.merges(history=True)))) == ([], 2)


def test_a_filter_restricts_the_list_and_leaves_shares_as_they_are(place: Place) -> None:
    work, everything = place.corpus.works[0], place.ask()
    shares = {each.id: each.share for each in everything.works}
    where = WorkFilter(contributors=("ANN  SMITH",))
    answer = place.client.attribute(
        work.thumbnail, prompt=work.caption, generator="a" * 64, k=50, filter=where, timeout_seconds=120
    )
    wanted = {each.id for each in place.corpus if each.contributor in _FEW[0]}
    assert {each.id: each.share for each in answer.works} == pytest.approx(
        {work_id: share for work_id, share in shares.items() if work_id in wanted}, abs=1e-6
    )
    assert [person.name for person in answer.contributors] == ["Ann Smith"]
    assert answer.remainder == pytest.approx(1.0 - sum(each.share for each in answer.works), abs=1e-6)
    recorded = place.client.attribution(answer.attribution_id).answer
    assert recorded.filter == answer.filter == where
    with pytest.raises(InvalidInput, match="lists only works that pass a filter"):
        place.client.submit_audit(answer.attribution_id)


@pytest.mark.parametrize(
    ("where", "field"),
    [
        (WorkFilter(licences=("",)), "licences"),
        (WorkFilter(consent=("training: no",)), "consent"),
        (WorkFilter(contributors=("x" * 501,)), "contributors"),
        (WorkFilter(licences=tuple(map(str, range(101)))), "licences"),
    ],
)
def test_a_filter_that_cannot_be_used_is_refused(place: Place, where: WorkFilter, field: str) -> None:
    work = place.corpus.works[0]
    with pytest.raises(InvalidInput) as refused:
        place.client.attribute(work.thumbnail, prompt="a kite", generator="a" * 64, filter=where)
    assert refused.value.field == field


def test_no_work_passes_an_empty_time_span(place: Place) -> None:
    work, year = place.corpus.works[0], datetime(2020, 1, 1, tzinfo=UTC)
    where = WorkFilter(created_since=year, created_until=year)
    answer = place.client.attribute(work.thumbnail, prompt="a kite", generator="a" * 64, filter=where)
    assert (answer.works, answer.remainder) == ((), pytest.approx(1.0))


def test_people_whom_nobody_names_are_refused_unless_allowed(place: Place) -> None:
    with pytest.raises(NotFound, match="'Nobody Else' is neither in corpus") as refused:
        place.client.merge_contributors(Person(name=OTHERS[0]), Person(name="Nobody Else"))
    assert refused.value.field == "other"
    with pytest.raises(NotFound, match="contributor id 'account:7'"):
        place.client.withdraw_contributor_id("account:7")
    assert place.client.withdraw_contributor_id("account:7", allow_unknown=True).works == 0
    assert place.client.revoke_contributor_id("account:7").withdrawal.action == "REVOKED"
