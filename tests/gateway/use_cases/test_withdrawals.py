"""Withdrawals through the gateway, without anything to search in: the ledger, the catalog, past answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from creditline.api.answers import WithdrawalStatus
from creditline.client import CreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.rights import RightsHolder
from creditline.corpus.works import Work
from creditline.errors import InvalidInput, NotFound, Unauthenticated, Unavailable
from creditline.index import WorkIndex, index_release
from creditline.ledger import Ledger, WithdrawalKind
from creditline.release import Release
from tests.gateway.conftest import GENERATOR, RunningGateway, gateway_settings, running_gateway
from tests.local.qdrant_process import local_qdrant, start_qdrant

_WORK = embedded_corpus().works[20]
_OTHER = next(work for work in embedded_corpus() if work.contributor != _WORK.contributor)


@pytest.fixture
def gateway(tmp_path: Path, release: Release) -> Iterator[RunningGateway]:
    """Its ledger works; Qdrant, Redis and embedder are down."""
    with running_gateway(gateway_settings(tmp_path, release)) as running:
        yield running


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[CreditlineClient]:
    with gateway.client() as connected:
        yield connected


def _wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not happen within a minute"
        time.sleep(0.05)


def _withdrawn_works(index: WorkIndex, release: Release) -> frozenset[str]:
    """Nothing while Qdrant is not reached again: connections of one process share their waiting."""
    try:
        return index.withdrawn_works(release.collection)
    except Unavailable:
        return frozenset()


def _past_answer(
    gateway: RunningGateway, works: tuple[Work, ...], copies: tuple[str, ...] = (), **more: object
) -> str:
    """An answer in the ledger, as the gateway wrote them before withdrawals were known."""
    lines = [
        {
            "id": work.id,
            "title": work.title,
            "caption": work.caption,
            "contributor": work.contributor,
            "licence": work.licence,
            "score": 0.9,
            "expected_influence": 0.1,
            "share": 0.25,
            "rank": rank,
            "copies": copies if rank == 1 else (),
            **({"holders": list(map(vars, work.rights_holders))} if work.rights_holders else {}),
        }
        for rank, work in enumerate(works, start=1)
    ]
    people = [{"name": work.contributor, "share": 0.25, "works": 1} for work in works]
    answer = {"works": lines, "contributors": people, "remainder": 0.5, "concentration": 0.1, **more}
    with Ledger.open(gateway.settings.ledger_url) as ledger:
        return ledger.record_attribution(
            release="gateway-test",
            generator=GENERATOR,
            corpus="b" * 64,
            prompt="two works",
            image=b"\x89PNG...",
            k=2,
            answer=answer,
        )


def test_a_request_is_recorded_although_qdrant_is_down_and_the_answer_reports_it(
    gateway: RunningGateway, client: CreditlineClient
) -> None:
    status = client.withdraw_work(_WORK.id, reason="asked by letter", requested_by="the office")
    assert (status.withdrawal.kind, status.withdrawal.action, status.works) == ("WORK", "WITHDRAWN", 1)
    assert not status.carried_out
    assert "Qdrant does not answer" in status.pending
    with Ledger.open(gateway.settings.ledger_url) as ledger:
        (stored,) = ledger.standing_withdrawals()
        assert ledger.verify_chain().intact
    assert (stored.id, stored.reason, stored.requested_by) == (
        status.withdrawal.id,
        "asked by letter",
        "the office",
    )


def test_a_waiting_request_is_reported_by_readiness_and_carried_out_once_qdrant_is_up(
    tmp_path: Path, release: Release
) -> None:
    first = start_qdrant(tmp_path / "qdrant")
    with WorkIndex.connect(grpc_port=first.port) as index:
        index_release(release, embedded_corpus(), index)
    first.process.terminate()
    first.process.wait(60)
    work_id = release.work_ids()[5]
    with running_gateway(gateway_settings(tmp_path, release, qdrant_grpc_port=first.port)) as gateway:
        with gateway.client() as client:
            assert not client.withdraw_work(work_id).carried_out
        with gateway.http() as http:
            states = {each["service"]: each for each in http.get("/readyz").json()["dependencies"]}
            assert not states["withdrawals"]["up"]
            assert "Qdrant does not answer" in states["withdrawals"]["message"]
        again = start_qdrant(tmp_path / "qdrant", port=first.port)
        try:
            with WorkIndex.connect(grpc_port=first.port) as index:
                _wait_until(lambda: _withdrawn_works(index, release) == {work_id})
            with gateway.client() as client:
                assert client.withdraw_work(work_id).carried_out
            with gateway.http() as http:
                states = {each["service"]: each for each in http.get("/readyz").json()["dependencies"]}
                assert states["withdrawals"]["up"]
        finally:
            again.process.terminate()
            again.process.wait(60)


def test_a_repeated_request_changes_nothing_and_returns_the_one_in_force(client: CreditlineClient) -> None:
    first = client.withdraw_contributor(_WORK.contributor)
    assert client.withdraw_contributor(_WORK.contributor, reason="again").withdrawal == first.withdrawal
    assert list(client.withdrawals(history=True)) == [first.withdrawal]
    assert first.works == sum(work.contributor == _WORK.contributor for work in embedded_corpus())


def test_another_spelling_is_the_same_request(client: CreditlineClient) -> None:
    first = client.withdraw_contributor(f"{_WORK.contributor.upper()}\u200b ")
    assert client.withdraw_contributor(_WORK.contributor).withdrawal == first.withdrawal
    assert first.works == sum(work.contributor == _WORK.contributor for work in embedded_corpus())
    assert client.work(_WORK.id).withdrawn_since == first.withdrawal.created
    client.revoke_contributor(_WORK.contributor)
    assert not client.work(_WORK.id).withdrawn


def test_merges_over_rest_are_those_of_grpc(gateway: RunningGateway, client: CreditlineClient) -> None:
    people = {"person": {"name": _WORK.contributor}, "other": {"name": _OTHER.contributor}}
    with gateway.http() as http:
        posted = http.post("/v1/contributors/merges", json={**people, "reason": "asked"})
        (listed,) = client.merges()
        assert [each["id"] for each in http.get("/v1/contributors/merges").json()] == [listed.id]
        client.withdraw_contributor(_OTHER.contributor)
        assert client.work(_WORK.id).withdrawn
        back = http.post("/v1/contributors/merges", json={**people, "action": "REVOKED"})
        assert not client.work(_WORK.id).withdrawn
        assert http.get("/v1/contributors/merges").json() == []
        assert len(http.get("/v1/contributors/merges", params={"history": True}).json()) == 2
        wrong = http.post("/v1/contributors/merges", json={**people, "other": people["person"]})
        nobody = http.post("/v1/contributors/merges", json={**people, "other": {"id": "account:7"}})
    assert (posted.status_code, back.status_code) == (202, 202)
    assert (listed.person.name, listed.other.name) == (_WORK.contributor, _OTHER.contributor)
    assert (wrong.status_code, wrong.json()["field"]) == (409, "other")
    assert (nobody.status_code, nobody.json()["field"]) == (404, "other")


def test_what_is_taken_back_is_listed_in_the_history_only(client: CreditlineClient) -> None:
    client.withdraw_work(_WORK.id)
    stays = client.withdraw_contributor(_OTHER.contributor).withdrawal
    back = client.revoke_work(_WORK.id, reason="a mistake").withdrawal
    assert (back.action, back.reason) == ("REVOKED", "a mistake")
    assert list(client.withdrawals()) == [stays]
    assert [status.action for status in client.withdrawals(history=True)] == [
        "WITHDRAWN",
        "WITHDRAWN",
        "REVOKED",
    ]
    with pytest.raises(NotFound, match="never withdrawn"):
        client.revoke_contributor(_WORK.contributor)


def test_an_unknown_subject_is_refused_with_the_nearest_names(client: CreditlineClient) -> None:
    name = _WORK.contributor
    with pytest.raises(NotFound, match="did you mean") as refused:
        client.withdraw_contributor(f"{name.swapcase()}x")
    assert repr(name) in refused.value.message
    assert refused.value.field == "subject"
    with pytest.raises(NotFound) as refused:
        client.withdraw_work(f"{_WORK.id}x")
    assert repr(_WORK.id) in refused.value.message
    assert list(client.withdrawals(history=True)) == []


def test_a_work_of_a_corpus_to_come_can_be_withdrawn_on_purpose(client: CreditlineClient) -> None:
    status = client.withdraw_work("not-there-yet", allow_unknown=True)
    assert (status.works, status.withdrawal.subject) == (0, "not-there-yet")


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("kind", {"kind": "FOLDER", "subject": "x"}),
        ("subject", {"kind": "WORK", "subject": ""}),
        ("reason", {"kind": "WORK", "subject": _WORK.id, "reason": "r" * 1001}),
        ("requested_by", {"kind": "WORK", "subject": _WORK.id, "requested_by": "q" * 201}),
        ("subject", {"kind": "CONTRIBUTOR", "subject": "\u200b"}),
        ("subject", {"kind": "CONTRIBUTOR_ID", "subject": "1" * 1_000_000}),
        ("subject", {"kind": "WORK"}),
        ("action", {"kind": "WORK", "subject": _WORK.id, "action": "HIDE"}),
    ],
)
def test_an_invalid_request_is_refused_naming_the_field(
    gateway: RunningGateway, field: str, body: dict[str, str]
) -> None:
    with gateway.http() as http:
        refused = http.post("/v1/withdrawals", json=body)
    assert (refused.status_code, refused.json()["field"]) == (400, field)


def test_rest_does_what_grpc_does(gateway: RunningGateway, client: CreditlineClient) -> None:
    body = {"kind": "CONTRIBUTOR", "subject": _WORK.contributor, "reason": "asked"}
    with gateway.http() as http:
        posted = http.post("/v1/withdrawals", json=body)
        again = client.withdraw_contributor(_WORK.contributor)
        listed = http.get("/v1/withdrawals").json()
        back = http.post("/v1/withdrawals", json={**body, "action": "REVOKED"})
        assert http.get("/v1/withdrawals").json() == []
        assert len(http.get("/v1/withdrawals", params={"history": True}).json()) == 2
        assert len(http.get("/v1/withdrawals", params={"history": True, "limit": 1}).json()) == 1
        wrong = http.get("/v1/withdrawals", params={"limit": 0})
    assert (posted.status_code, back.status_code, wrong.status_code) == (202, 202, 400)
    assert isinstance(again, WithdrawalStatus)
    assert posted.json()["withdrawal"]["id"] == listed[0]["id"] == again.withdrawal.id


def test_without_a_key_nobody_withdraws_or_lists(tmp_path: Path, release: Release) -> None:
    with running_gateway(gateway_settings(tmp_path, release, api_keys="right")) as locked:
        with locked.client() as stranger:
            with pytest.raises(Unauthenticated):
                stranger.withdraw_work(_WORK.id)
            with pytest.raises(Unauthenticated):
                list(stranger.withdrawals())
        with locked.http() as http:
            assert http.post("/v1/withdrawals", json={}).status_code == 401
            assert http.get("/v1/withdrawals").status_code == 401
        with locked.client(api_key="right") as known:
            assert known.withdraw_work(_WORK.id).withdrawal.subject == _WORK.id


def test_a_withdrawn_work_is_described_but_not_shown(
    gateway: RunningGateway, client: CreditlineClient
) -> None:
    assert not client.work(_WORK.id).withdrawn
    status = client.withdraw_contributor(_WORK.contributor).withdrawal
    work = client.work(_WORK.id)
    assert (work.title, work.withdrawn, work.withdrawn_since) == (_WORK.title, True, status.created)
    with pytest.raises(NotFound, match="is withdrawn"):
        client.thumbnail(_WORK.id)
    with gateway.http() as http:
        assert http.get(f"/v1/works/{_WORK.id}").json()["withdrawn"] is True
        assert http.get(f"/v1/works/{_WORK.id}/thumbnail").status_code == 404
        client.revoke_contributor(_WORK.contributor)
        assert http.get(f"/v1/works/{_WORK.id}/thumbnail").content == _WORK.thumbnail


def test_a_past_answer_stays_as_it_was_and_is_marked(
    gateway: RunningGateway, client: CreditlineClient
) -> None:
    copy = embedded_corpus().works[30]
    attribution_id = _past_answer(gateway, (_WORK, _OTHER), copies=(copy.id,))
    before = client.attribution(attribution_id)
    assert not any(work.withdrawn for work in before.answer.works)
    status = client.withdraw_contributor(_WORK.contributor).withdrawal
    client.withdraw_work(copy.id)
    after = client.attribution(attribution_id)
    marked, other = after.answer.works
    assert (marked.withdrawn, marked.withdrawn_since, marked.withdrawn_copies) == (
        True,
        status.created,
        (copy.id,),
    )
    assert (other.withdrawn, other.withdrawn_since) == (False, None)
    assert [person.withdrawn for person in after.answer.contributors] == [True, False]
    assert [work.share for work in after.answer.works] == [0.25, 0.25]
    with gateway.http() as http:
        body = http.get(f"/v1/attributions/{attribution_id}").json()
        picture = http.get(f"/v1/attributions/{attribution_id}/picture")
    assert [work["withdrawn"] for work in body["answer"]["works"]] == [True, False]
    assert (picture.headers["content-type"], picture.content) == ("image/png", b"\x89PNG...")
    assert client.attributed_picture(attribution_id) == b"\x89PNG..."
    client.revoke_contributor(_WORK.contributor)
    assert not client.attribution(attribution_id).answer.works[0].withdrawn
    with Ledger.open(gateway.settings.ledger_url) as ledger:
        assert ledger.verify_chain().intact


def test_a_holder_whom_only_the_past_answer_names_marks_their_work(
    gateway: RunningGateway, client: CreditlineClient
) -> None:
    rights = (RightsHolder("Ann Absent", 60.0), RightsHolder("Ben Absent", 40.0))
    added = replace(_WORK, id="added-later", rights_holders=rights)
    attribution_id = _past_answer(gateway, (added, _OTHER))
    before = client.attribution(attribution_id).answer.works
    assert [each.withdrawn for each in before] == [False, False]
    assert [(each.name, each.percent) for each in before[0].holders] == [
        ("Ann Absent", 60.0),
        ("Ben Absent", 40.0),
    ]
    client.withdraw_contributor("BEN ABSENT", allow_unknown=True)
    assert [each.withdrawn for each in client.attribution(attribution_id).answer.works] == [True, False]


def test_a_past_answer_that_there_is_not_is_refused(client: CreditlineClient) -> None:
    with pytest.raises(NotFound):
        client.attribution("0" * 32)
    with pytest.raises(InvalidInput) as refused:
        client.attribution("no id")
    assert refused.value.field == "id"


def test_a_gateway_that_starts_again_still_knows(tmp_path: Path, release: Release) -> None:
    settings = gateway_settings(tmp_path, release)
    with running_gateway(settings) as first, first.client() as client:
        client.withdraw_work(_WORK.id)
    with running_gateway(settings) as second, second.client() as client:
        assert client.work(_WORK.id).withdrawn


def test_a_request_to_one_gateway_reaches_another_within_seconds(tmp_path: Path, release: Release) -> None:
    settings = gateway_settings(tmp_path, release)
    with (
        running_gateway(settings) as one,
        running_gateway(settings) as two,
        one.client() as first,
        two.client() as asked,
    ):
        assert not asked.work(_WORK.id).withdrawn
        first.withdraw_work(_WORK.id)
        _wait_until(lambda: asked.work(_WORK.id).withdrawn)


def test_a_gateway_that_died_before_the_index_knew_carries_it_out_in_every_collection_when_it_starts(
    tmp_path: Path, release: Release
) -> None:
    gone, back = release.work_ids()[2:4]
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.withdraw(WithdrawalKind.WORK, gone)
        ledger.withdraw(WithdrawalKind.WORK, back)
        ledger.revoke(WithdrawalKind.WORK, back)
    older = replace(release, collection="works-older")
    with (
        local_qdrant(tmp_path / "qdrant") as running,
        WorkIndex.connect(grpc_port=running.port) as index,
    ):
        for each in (release, older):
            index_release(each, embedded_corpus(), index)
            index.withdraw(each.collection, [back])
        with running_gateway(gateway_settings(tmp_path, release, qdrant_grpc_port=running.port)):
            for each in (release, older):
                _wait_until(lambda collection=each.collection: index.withdrawn_works(collection) == {gone})


def test_a_past_answer_without_equal_parts_states_them_from_its_concentration(
    gateway: RunningGateway, client: CreditlineClient, release: Release
) -> None:
    answer = client.attribution(_past_answer(gateway, (_WORK, _OTHER))).answer
    assert answer.corpus_works == release.works
    assert answer.equal_parts == pytest.approx(1 / (0.1 + 0.9 / release.works))


def test_another_gateway_shows_no_picture_once_the_withdrawal_is_acknowledged(
    tmp_path: Path, release: Release
) -> None:
    settings = gateway_settings(tmp_path, release)
    with (
        running_gateway(settings) as one,
        running_gateway(settings) as two,
        one.client() as first,
        two.client() as asked,
    ):
        for work in embedded_corpus().works[40:50]:
            assert asked.thumbnail(work.id) == work.thumbnail
            first.withdraw_work(work.id)
            assert asked.work(work.id).withdrawn
            with pytest.raises(NotFound, match="is withdrawn"):
                asked.thumbnail(work.id)


def test_a_past_answer_with_the_former_names_of_its_fields_is_read(
    gateway: RunningGateway, client: CreditlineClient
) -> None:
    release = {
        "name": "former",
        "created": "2026-11-01T00:00:00+00:00",
        "generator_fingerprint": GENERATOR,
        "corpus_fingerprint": "b" * 64,
        "towers_fingerprint": "c" * 64,
        "width": 256,
        "works": 7,
        "collection": "works-former",
    }
    former = _past_answer(gateway, (_WORK,), level=0.9, unfamiliarity=0.25, release=release)
    answer = client.attribution(former).answer
    assert (answer.coverage, answer.ood_score) == (0.9, 0.25)
    assert (answer.release.name, answer.release.dimension) == ("former", 256)


def test_a_revocation_is_stored_under_the_value_that_older_ledgers_have(
    gateway: RunningGateway, client: CreditlineClient
) -> None:
    client.withdraw_work(_OTHER.id)
    assert client.revoke_work(_OTHER.id).withdrawal.action == "REVOKED"
    with Ledger.open(gateway.settings.ledger_url) as ledger:
        stored = ledger.withdrawals_after(0)[-1]
    assert (stored.action.name, stored.action.value) == ("REVOKED", "TAKEN_BACK")
