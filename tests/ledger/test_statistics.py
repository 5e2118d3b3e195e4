"""Size and state of a ledger, as metrics show them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from creditline.ledger import AuditState, Ledger
from creditline.ledger.statistics import COUNTED_TABLES
from tests.ledger.conftest import MovableClock, record, verdict


def test_an_empty_ledger_has_no_rows_and_no_ages(ledger: Ledger) -> None:
    found = ledger.statistics()
    assert dict(found.rows) == dict.fromkeys(COUNTED_TABLES, 0)
    assert set(found.audits.values()) | set(found.oldest_seconds.values()) == {0}
    assert (found.unpublished, found.oldest_unpublished_seconds, found.expired_leases) == (0, 0.0, 0)
    assert found.size_bytes > 0
    assert found.accuracy == {}


def test_audits_are_counted_by_state_with_the_age_of_the_oldest(ledger: Ledger, clock: MovableClock) -> None:
    audits = [ledger.submit_audit(record(ledger)) for _ in range(4)]
    clock.now += timedelta(seconds=30)
    for audit in audits[:3]:
        assert ledger.acquire_audit(audit.id, "worker", 60.0)
    ledger.finish_audit(audits[0].id, verdict(recall=0.5))
    ledger.fail_audit(audits[1].id, "broken")
    found = ledger.statistics()
    assert found.audits == dict.fromkeys(AuditState, 1)
    assert found.oldest_seconds == {AuditState.QUEUED: 30.0, AuditState.RUNNING: 30.0}
    assert found.rows["audits"] == 4
    assert found.rows["attributions"] == 4
    assert (found.unpublished, found.oldest_unpublished_seconds) == (4, 30.0)


def test_a_lease_that_is_not_renewed_counts_as_expired(ledger: Ledger, clock: MovableClock) -> None:
    audit = ledger.submit_audit(record(ledger))
    ledger.acquire_audit(audit.id, "worker", 60.0)
    assert ledger.statistics().expired_leases == 0
    clock.now += timedelta(seconds=61)
    assert ledger.statistics().expired_leases == 1


def test_the_accuracy_is_that_of_the_release(ledger: Ledger) -> None:
    for recall in (0.5, 1.0):
        audit = ledger.submit_audit(record(ledger))
        ledger.finish_audit(audit.id, verdict(recall=recall))
    # Audits of answers from a picture alone count for no release's accuracy.
    for release in ("r1", "r3"):
        audit = ledger.submit_audit(record(ledger, release=release))
        ledger.finish_audit(audit.id, verdict(recall=0.1), ordinary=False)
    found = ledger.statistics().accuracy
    assert found == {"r1": ledger.accuracy("r1")}
    assert found["r1"].recall == pytest.approx(0.75)


def test_the_waiting_time_of_writes_is_observed(ledger: Ledger) -> None:
    waits: list[float] = []
    ledger.observe_write_waits(waits.append)
    ledger.ping()
    assert waits == []
    record(ledger)
    assert len(waits) == 1
    assert 0.0 <= waits[0] < 5.0
