"""Withdrawal requests on a real SQLite file: rows, resulting state, and hash chain."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.errors import InvalidInput, NotFound, PermissionDenied
from creditline.ledger import Ledger, WithdrawalKind
from creditline.ledger.chain import GENESIS
from tests.ledger.conftest import MovableClock, record

_WORK, _CONTRIBUTOR = WithdrawalKind.WORK, WithdrawalKind.CONTRIBUTOR


def _tamper(ledger_url: str, statement: str) -> None:
    with sqlite3.connect(Path(str(make_url(ledger_url).database))) as connection:
        connection.execute(statement)
    connection.close()


def test_nothing_is_withdrawn_from_a_new_ledger(ledger: Ledger) -> None:
    assert ledger.withdrawn() == NOTHING_WITHDRAWN
    assert ledger.verify_chain().withdrawals_head == GENESIS


def test_a_withdrawal_is_read_back_as_it_was_requested(ledger: Ledger, clock: MovableClock) -> None:
    request = ledger.withdraw(_CONTRIBUTOR, "Ana Ångström", reason="by mail", requested_by="the office")
    assert (request.subject, request.reason, request.requested_by) == (
        "Ana Ångström",
        "by mail",
        "the office",
    )
    assert (request.created, request.sequence, request.previous_hash) == (clock.now, 1, GENESIS)
    assert ledger.standing_withdrawals() == ledger.withdrawals_after(0) == (request,)
    assert ledger.withdrawn() == Withdrawn(contributors=frozenset({"Ana Ångström"}), sequence=1)


def test_repeating_a_request_adds_no_row_and_returns_the_one_in_force(
    ledger: Ledger, clock: MovableClock
) -> None:
    first = ledger.withdraw(_WORK, "w1", reason="asked by letter")
    clock.pass_seconds(60)
    assert ledger.withdraw(_WORK, "w1", reason="asked again") == first
    back = ledger.revoke(_WORK, "w1")
    assert ledger.revoke(_WORK, "w1") == back
    assert ledger.withdrawals_after(0) == (first, back)


def test_the_same_request_from_many_threads_at_once_is_one_row(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: ledger.withdraw(_WORK, "w1").id, range(24)))
    assert len(ids) == 1


def test_a_work_and_a_contributor_of_one_name_are_two_subjects(ledger: Ledger) -> None:
    ledger.withdraw(_WORK, "ana")
    ledger.withdraw(_CONTRIBUTOR, "ana")
    ledger.revoke(_WORK, "ana")
    assert ledger.withdrawn() == Withdrawn(
        contributors=frozenset({"ana"}), sequence=3, revoked_works=frozenset({"ana"})
    )


def test_a_subject_withdrawn_again_after_a_revocation_is_withdrawn(ledger: Ledger) -> None:
    for request in (ledger.withdraw, ledger.revoke, ledger.withdraw):
        last = request(_WORK, "w1")
    assert ledger.withdrawn() == Withdrawn(works=frozenset({"w1"}), sequence=3)
    assert ledger.standing_withdrawals() == (last,)


def test_a_withdrawal_that_does_not_exist_cannot_be_revoked(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="never withdrawn") as refused:
        ledger.revoke(_CONTRIBUTOR, "Ana")
    assert refused.value.field == "subject"
    assert ledger.withdrawn().sequence == 0


def test_later_requests_are_read_alone_and_in_pages(ledger: Ledger) -> None:
    requests = [ledger.withdraw(_WORK, f"w{number}") for number in range(5)]
    assert ledger.withdrawals_after(3) == tuple(requests[3:])
    assert ledger.withdrawals_after(1, limit=2) == tuple(requests[1:3])
    assert ledger.withdrawals_after(5) == ()


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("subject", {"subject": " "}),
        ("subject", {"subject": "w" * 501}),
        ("subject", {"subject": "w\x00"}),
        ("reason", {"subject": "w", "reason": "r" * 1001}),
        ("reason", {"subject": "w", "reason": "\ud800"}),
        ("requested_by", {"subject": "w", "requested_by": "q" * 201}),
    ],
)
def test_texts_that_cannot_be_stored_are_refused_with_their_field(
    ledger: Ledger, field: str, texts: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        ledger.withdraw(_WORK, **texts)
    assert refused.value.field == field
    assert ledger.withdrawals_after(0) == ()


def test_covers_a_work_by_itself_and_by_any_of_its_rights_holders() -> None:
    withdrawn = Withdrawn(works=frozenset({"w1"}), contributors=frozenset({"Ana"}))
    assert withdrawn.covers("w1", "Bo")
    assert withdrawn.covers("w2", "Bo", "Ana")
    assert not withdrawn.covers("w2", "Bo")
    assert not withdrawn.covers("w2")
    assert withdrawn.covers("w2", "ＡＮＡ\u200b ")
    by_id = Withdrawn(contributor_ids=frozenset({"https://orcid.org/0000-0002-1825-0097"}))
    assert by_id.covers("w2", "Bo", contributor_id="0000-0002-1825-0097")
    assert not by_id.covers("w2", "0000-0002-1825-0097")


def test_both_chains_are_verified(ledger: Ledger) -> None:
    record(ledger)
    requests = [ledger.withdraw(_WORK, f"w{number}") for number in range(3)]
    assert [request.previous_hash for request in requests[1:]] == [request.hash for request in requests[:-1]]
    report = ledger.verify_chain()
    assert report.intact
    assert (report.attributions, report.withdrawals, report.withdrawals_head) == (1, 3, requests[-1].hash)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE withdrawals SET action = 'TAKEN_BACK' WHERE sequence = 3",
        "UPDATE withdrawals SET subject = 'another' WHERE sequence = 3",
        "UPDATE withdrawals SET reason = '' WHERE sequence = 3",
        "UPDATE withdrawals SET created = '2020-01-01 00:00:00.000000' WHERE sequence = 3",
        "DELETE FROM withdrawals WHERE sequence = 2",
    ],
)
def test_a_changed_or_missing_request_breaks_the_chain_there(
    ledger: Ledger, ledger_url: str, statement: str
) -> None:
    requests = [ledger.withdraw(_WORK, f"w{number}", reason="asked") for number in range(5)]
    _tamper(ledger_url, statement)
    assert ledger.verify_chain().broken_at == requests[2].id


def test_the_newest_answer_shows_that_the_last_requests_were_cut_off(ledger: Ledger, ledger_url: str) -> None:
    for number in range(3):
        ledger.withdraw(_WORK, f"w{number}")
    answer = {"works": [], "remainder": 1.0, "withdrawals": 3}
    ledger.record_attribution(
        release="r1", generator="a", corpus="b", prompt="p", image=b"", k=1, answer=answer
    )
    assert ledger.verify_chain().intact
    _tamper(ledger_url, "DELETE FROM withdrawals WHERE sequence = 3")
    report = ledger.verify_chain()
    assert (report.intact, report.broken_at, report.withdrawals) == (False, "withdrawal 3", 2)


def test_each_owner_withdraws_and_revokes_for_itself(ledger: Ledger) -> None:
    for owner in ("museum", "archive"):
        ledger.withdraw(_WORK, "w1", owner=owner)
        ledger.withdraw(_CONTRIBUTOR, "Ana", owner=owner)
    assert [request.owner for request in ledger.standing_withdrawals()] == [
        owner for owner in ("museum", "archive") for _ in range(2)
    ]
    for kind, subject in ((_WORK, "w1"), (_CONTRIBUTOR, "ANA")):
        ledger.revoke(kind, subject, owner="museum", made_by="museum")
        assert ledger.withdrawn().covers("w1", "Ana")
        with pytest.raises(PermissionDenied, match="another owner"):
            ledger.revoke(kind, subject, owner="museum")
        assert not ledger.withdrawn().revoked_works
    last = ledger.revoke(_WORK, "w1", made_by="operator")
    assert (last.owner, last.made_by) == ("archive", "operator")
    ledger.revoke(_CONTRIBUTOR, "Ana", made_by="operator")
    withdrawn = ledger.withdrawn()
    assert not withdrawn.covers("w1", "Ana")
    assert withdrawn.revoked_works == {"w1"}
    assert ledger.verify_chain().intact


@pytest.mark.parametrize("change", ["owner = 'thief'", "owner = ''", "made_by = ''"])
def test_a_changed_owner_breaks_the_chain(ledger: Ledger, ledger_url: str, change: str) -> None:
    ledger.withdraw(_WORK, "w1", owner="museum")
    assert ledger.verify_chain().intact
    _tamper(ledger_url, f"UPDATE withdrawals SET {change}")
    assert not ledger.verify_chain().intact
