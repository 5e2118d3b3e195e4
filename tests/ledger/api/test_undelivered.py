"""Answers that were recorded and did not reach their caller: marked beside the chain, and counted nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from creditline.errors import DeadlineExceeded
from creditline.ledger import AuditState, Ledger
from tests.ledger.conftest import MovableClock, record, verdict


def test_a_marked_answer_leaves_the_chain_intact_and_counts_only_once(ledger: Ledger) -> None:
    kept, lost = record(ledger), record(ledger, awaits_delivery=True)
    assert ledger.mark_undelivered([lost, "0" * 32]) == 1
    assert ledger.mark_undelivered([lost]) == 0
    report = ledger.verify_chain()
    assert (report.attributions, report.intact) == (2, True)
    assert {each: ledger.attribution(each).undelivered for each in (kept, lost)} == {kept: False, lost: True}
    listed = {each.id: each.undelivered for each in ledger.attributions_before(None, limit=10)}
    assert listed == {kept: False, lost: True}


def test_its_queued_audit_ends_and_is_never_published(ledger: Ledger) -> None:
    lost = record(ledger, with_audit=True, awaits_delivery=True)
    assert len(ledger.unpublished(10)) == 1
    ledger.mark_undelivered([lost])
    audit = ledger.audit_of(lost)
    assert audit is not None
    assert audit.state is AuditState.FAILED
    assert audit.error is not None
    assert "not delivered" in audit.error
    assert ledger.unpublished(10) == ()
    assert ledger.statistics().unpublished == 0
    assert not ledger.acquire_audit(audit.id, "worker", 60)


def test_accuracy_leaves_it_out_even_if_it_was_audited(ledger: Ledger) -> None:
    for recall in (1.0, 0.0):
        audit = ledger.submit_audit(record(ledger, awaits_delivery=True))
        assert ledger.acquire_audit(audit.id, "worker", 60)
        ledger.finish_audit(audit.id, verdict(recall))
    assert (ledger.accuracy("r1").audits, ledger.accuracy("r1").recall) == (2, 0.5)
    ledger.mark_undelivered([audit.attribution_id])
    assert (ledger.accuracy("r1").audits, ledger.accuracy("r1").recall) == (1, 1.0)
    assert ledger.statistics().accuracy["r1"].recall == 1.0


def test_an_answer_that_a_repeated_request_got_later_counts_again(
    ledger: Ledger, clock: MovableClock
) -> None:
    lost = record(ledger, awaits_delivery=True)
    ledger.mark_undelivered([lost])
    clock.pass_seconds(5)
    ledger.mark_delivered(lost)
    assert not ledger.attribution(lost).undelivered
    assert [each.undelivered for each in ledger.attributions_before(None, limit=10)] == [False]
    # A late mark of the first attempt changes nothing.
    assert ledger.mark_undelivered([lost]) == 0
    assert not ledger.attribution(lost).undelivered


def test_nothing_is_recorded_for_a_caller_who_leaves_during_the_transaction(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for late_at in (1, 2):
            checks: list[int] = []

            def check(late_at: int = late_at, checks: list[int] = checks) -> None:
                checks.append(1)
                if len(checks) == late_at:
                    raise DeadlineExceeded("the deadline passed")

            with pytest.raises(DeadlineExceeded):
                ledger.record_attribution(
                    release="r1",
                    generator="a" * 64,
                    corpus="b" * 64,
                    prompt="late",
                    image=b"",
                    k=1,
                    answer={},
                    with_audit=True,
                    check=check,
                )
        assert ledger.verify_chain().attributions == 0
        assert ledger.unpublished(10) == ()


def _lost(ledger: Ledger) -> set[str]:
    return {each.id for each in ledger.attributions_before(None, limit=100) if each.undelivered}


def test_what_nobody_confirmed_in_time_is_marked(ledger: Ledger, clock: MovableClock) -> None:
    unasked, sent, left, kept = (
        record(ledger, awaits_delivery=awaits) for awaits in (False, True, True, True)
    )
    ledger.confirm_delivered([sent])
    ledger.mark_undelivered([left])
    assert ledger.mark_unconfirmed(older_than_seconds=900) == 0
    clock.pass_seconds(899)
    assert ledger.mark_unconfirmed(older_than_seconds=900) == 0
    recent = record(ledger, awaits_delivery=True)
    clock.pass_seconds(2)
    assert ledger.mark_unconfirmed(older_than_seconds=900) == 1
    assert _lost(ledger) == {left, kept}
    assert not ledger.attribution(unasked).undelivered
    assert not ledger.attribution(recent).undelivered
    assert ledger.mark_unconfirmed(older_than_seconds=900) == 0
    assert ledger.verify_chain().intact


def test_a_confirmation_that_comes_too_late_lifts_the_mark(ledger: Ledger, clock: MovableClock) -> None:
    late, other = record(ledger, awaits_delivery=True), record(ledger, awaits_delivery=True)
    clock.pass_seconds(1000)
    assert ledger.mark_unconfirmed(older_than_seconds=900) == 2
    ledger.confirm_delivered([late])
    assert _lost(ledger) == {other}


def test_a_repeat_that_gets_an_unconfirmed_answer_confirms_it(ledger: Ledger, clock: MovableClock) -> None:
    repeated = record(ledger, awaits_delivery=True)
    ledger.mark_delivered(repeated)
    clock.pass_seconds(1000)
    assert ledger.mark_unconfirmed(older_than_seconds=900) == 0
    assert _lost(ledger) == set()


def test_a_mark_of_the_first_attempt_that_comes_after_a_repeat_got_the_answer_changes_nothing(
    ledger: Ledger,
) -> None:
    repeated = record(ledger, awaits_delivery=True)
    ledger.mark_delivered(repeated)
    assert ledger.mark_undelivered([repeated]) == 0
    assert _lost(ledger) == set()


def test_what_its_gateway_confirms_while_another_looks_for_unconfirmed_answers_is_not_marked(
    ledger: Ledger, ledger_url: str, clock: MovableClock
) -> None:
    confirmed, killed = record(ledger, awaits_delivery=True), record(ledger, awaits_delivery=True)
    clock.pass_seconds(1000)
    with Ledger.open(ledger_url, clock=clock) as other:

        def confirm(_connection: Connection) -> None:
            ledger.confirm_delivered([confirmed])

        # Between reading what is unconfirmed and marking it.
        event.listen(other._store._engine, "commit", confirm, once=True)
        assert other.mark_unconfirmed(older_than_seconds=900) == 1
    assert _lost(ledger) == {killed}


def test_more_than_a_page_of_unconfirmed_answers_is_marked_page_by_page(
    ledger: Ledger, clock: MovableClock
) -> None:
    for _ in range(5):
        record(ledger, awaits_delivery=True)
    clock.pass_seconds(1000)
    assert [ledger.mark_unconfirmed(older_than_seconds=900, limit=3) for _ in range(3)] == [3, 2, 0]
