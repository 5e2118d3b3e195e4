"""Spellings, ids and merges of contributors on a real SQLite file: a wish holds under all names."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from creditline.corpus.identity import PersonReference
from creditline.corpus.withdrawn import NOTHING_WITHDRAWN
from creditline.errors import Conflict, InvalidInput, NotFound
from creditline.ledger import Ledger, MergeAction, WithdrawalKind
from creditline.ledger.chain import GENESIS, withdrawal_hash
from creditline.ledger.verification import MERGES_KNOWN

_NAME, _ID = WithdrawalKind.CONTRIBUTOR, WithdrawalKind.CONTRIBUTOR_ID
_ANN, _A_SMITH = PersonReference("Ann Smith"), PersonReference("A. Smith")
_ORCID = PersonReference(id="0000-0002-1825-0097")


def _execute(url: str, statement: str, values: tuple[object, ...] = ()) -> None:
    with sqlite3.connect(Path(str(make_url(url).database))) as connection:
        connection.execute(statement, values)
    connection.close()


def test_another_spelling_is_the_same_request(ledger: Ledger) -> None:
    first = ledger.withdraw(_NAME, "Ann\u00a0Smith\u200b")
    assert first.subject == "Ann Smith"
    assert ledger.withdraw(_NAME, "ＡＮＮ SMITH") == first
    assert ledger.withdrawn().covers("w", "\u0410nn Smith")
    revoked = ledger.revoke(_NAME, "ann smith")
    assert not ledger.withdrawn().covers("w", "Ann Smith")
    assert ledger.standing_withdrawals() == (revoked,)


def test_spellings_that_older_ledgers_kept_apart_are_one_subject(ledger_url: str) -> None:
    """Before names had keys, two spellings were two subjects, each withdrawn and revoked by itself."""
    written = ["Ann  Smith", "ann smith"]
    with Ledger.open(ledger_url) as ledger:
        rows = [ledger.withdraw(_NAME, "Ann"), ledger.withdraw(_NAME, "Ben"), ledger.revoke(_NAME, "Ben")]
        previous = GENESIS
        for row, raw in zip(rows, [*written, written[1]], strict=True):
            changed = withdrawal_hash(previous, {**vars(row), "subject": raw})
            statement = "UPDATE withdrawals SET subject = ?, previous_hash = ?, hash = ? WHERE sequence = ?"
            _execute(ledger_url, statement, (raw, previous, changed, row.sequence))
            previous = changed
        assert ledger.verify_chain().intact
        assert ledger.withdrawn().covers("w", "ANN SMITH"), "only the other spelling was revoked"
        assert ledger.withdraw(_NAME, "Ann Smith").id == rows[0].id
        assert ledger.revoke(_NAME, "ANN SMITH").subject == "Ann  Smith"
        assert not ledger.withdrawn().covers("w", "Ann  Smith")


def test_a_withdrawal_by_id_is_that_of_one_person(ledger: Ledger) -> None:
    ledger.withdraw(_ID, "https://orcid.org/0000-0002-1825-0097")
    withdrawn = ledger.withdrawn()
    assert withdrawn.covers("w", "Ann Smith", contributor_id="0000000218250097")
    assert not withdrawn.covers("w", "Ann Smith", contributor_id="account:8")
    with pytest.raises(NotFound, match="contributor '0000-0002-1825-0097' was never withdrawn"):
        ledger.revoke(_NAME, "0000-0002-1825-0097")


def test_a_merge_extends_a_withdrawal_until_it_is_revoked(ledger: Ledger) -> None:
    ledger.withdraw(_NAME, "Ann Smith")
    assert not ledger.withdrawn().covers("w", "A. Smith")
    merge = ledger.merge(_ANN, _A_SMITH, reason="one person", requested_by="the office")
    assert (merge.action, merge.person, merge.other) == (MergeAction.MERGED, _ANN, _A_SMITH)
    assert ledger.withdrawn().covers("w", "a. smith")
    ledger.revoke_merge(_A_SMITH, _ANN)
    withdrawn = ledger.withdrawn()
    assert withdrawn.covers("w", "Ann Smith")
    assert not withdrawn.covers("w", "A. Smith")
    assert "name:a. smith" in withdrawn.listed_again, "an index that hides these works must list them again"


def test_a_merge_never_lifts_a_withdrawal_and_a_revocation_is_for_the_whole_person(ledger: Ledger) -> None:
    ledger.withdraw(_NAME, "A. Smith")
    ledger.revoke(_NAME, "A. Smith")
    ledger.withdraw(_NAME, "Ann Smith")
    ledger.withdraw(_ID, _ORCID.id)
    ledger.merge(_ORCID, _A_SMITH)
    ledger.merge(_ANN, _A_SMITH)
    assert ledger.withdrawn().covers("w", "A. Smith")
    ledger.revoke(_NAME, "a. smith")
    assert ledger.withdrawn().people == frozenset()
    assert ledger.revoke(_ID, _ORCID.id).subject == _ORCID.id


def test_repeating_a_merge_in_either_order_adds_no_record(ledger: Ledger) -> None:
    first = ledger.merge(_ANN, _A_SMITH)
    assert ledger.merge(PersonReference("A.\u00a0SMITH"), PersonReference("ann smith")) == first
    revoked = ledger.revoke_merge(_ANN, _A_SMITH)
    assert ledger.revoke_merge(_ANN, _A_SMITH) == revoked
    assert ledger.merges_after(0) == (first, revoked)
    assert ledger.changes_after(0, 1) == ((), (revoked,))
    assert ledger.withdrawn() != NOTHING_WITHDRAWN
    assert ledger.withdrawn().state == (0, 2)


@pytest.mark.parametrize(
    ("person", "other", "sentence"),
    [
        (_ANN, PersonReference("ANN\u200b SMITH"), "are one name in two spellings"),
        (_ANN, PersonReference(), "other needs either a name or an id"),
        (PersonReference("Ann", "account:7"), _ANN, "person needs either a name or an id"),
        (PersonReference("\u200b"), _ANN, "give an id or a name"),
        (_ANN, PersonReference("B" * 501), "other has 501 characters"),
    ],
)
def test_what_cannot_be_merged_is_refused(
    ledger: Ledger, person: PersonReference, other: PersonReference, sentence: str
) -> None:
    with pytest.raises((InvalidInput, Conflict), match=sentence):
        ledger.merge(person, other)
    assert ledger.merges_after(0) == ()


def test_a_merge_that_does_not_exist_cannot_be_revoked(ledger: Ledger) -> None:
    ledger.merge(_ANN, _A_SMITH)
    ledger.merge(_A_SMITH, _ORCID)
    with pytest.raises(NotFound, match="'Ann Smith' and '0000-0002-1825-0097' were never merged"):
        ledger.revoke_merge(_ANN, _ORCID)


def test_merges_have_a_chain_of_their_own(ledger: Ledger, ledger_url: str) -> None:
    first = ledger.merge(_ANN, _A_SMITH)
    second = ledger.merge(_ORCID, _ANN)
    report = ledger.verify_chain()
    assert (report.merges, report.merges_head, report.intact) == (2, second.hash, True)
    _execute(ledger_url, "UPDATE contributor_merges SET other = 'name:Ben' WHERE sequence = 1")
    assert ledger.verify_chain().broken_at == first.id


def test_a_missing_end_of_the_merges_is_found(ledger: Ledger, ledger_url: str) -> None:
    ledger.merge(_ANN, _A_SMITH)
    ledger.record_attribution(
        release="r", generator="a" * 64, corpus="b" * 64, prompt="p", image=b"", k=1, answer={MERGES_KNOWN: 1}
    )
    assert ledger.verify_chain().intact
    _execute(ledger_url, "DELETE FROM contributor_merges")
    assert ledger.verify_chain().broken_at == "merge 1"
