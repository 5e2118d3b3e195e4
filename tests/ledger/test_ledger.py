"""Attributions, audits, leases and the outbox on a real SQLite file."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from math import nan
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from creditline.api.answers import AnswerForm
from creditline.errors import InvalidInput, NotFound
from creditline.ledger import AuditState, Ledger
from creditline.ledger.chain import GENESIS
from tests.ledger.conftest import MovableClock, record, verdict


def _tamper(ledger_url: str, statement: str) -> None:
    with sqlite3.connect(Path(str(make_url(ledger_url).database))) as connection:
        connection.execute(statement)
    connection.close()


def test_an_attribution_is_read_back_as_it_was_recorded(ledger: Ledger, clock: MovableClock) -> None:
    stored = ledger.attribution(record(ledger, "a kite"))
    assert (stored.prompt, stored.k, stored.image, stored.release) == ("a kite", 10, b"\x89PNG...", "r1")
    assert stored.answer["works"][0]["share"] == 0.5
    assert stored.created == clock.now
    assert stored.previous_hash == GENESIS


def test_an_unknown_attribution_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound) as missing:
        ledger.attribution("0" * 32)
    assert missing.value.field == "attribution_id"


def test_each_hash_continues_the_one_before(ledger: Ledger) -> None:
    ids = [record(ledger, f"prompt {number}") for number in range(5)]
    rows = [ledger.attribution(each) for each in ids]
    assert [row.previous_hash for row in rows[1:]] == [row.hash for row in rows[:-1]]
    report = ledger.verify_chain()
    assert (report.intact, report.attributions, report.head) == (True, 5, rows[-1].hash)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE attributions SET prompt = 'another' WHERE sequence = 3",
        "UPDATE attributions SET image = x'00' WHERE sequence = 3",
        "UPDATE attributions SET answer = '{}' WHERE sequence = 3",
        "UPDATE attributions SET created = '2020-01-01 00:00:00.000000' WHERE sequence = 3",
        "UPDATE attributions SET hash = 'f' WHERE sequence = 3",
        "DELETE FROM attributions WHERE sequence = 2",
    ],
)
def test_a_changed_or_missing_row_breaks_the_chain_there(
    ledger: Ledger, ledger_url: str, statement: str
) -> None:
    ids = [record(ledger, f"prompt {number}") for number in range(5)]
    _tamper(ledger_url, statement)
    assert ledger.verify_chain().broken_at == ids[2]


def test_many_threads_write_one_unbroken_chain(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda number: record(ledger, f"prompt {number}"), range(40)))
    report = ledger.verify_chain()
    assert (len(ids), report.attributions, report.intact) == (40, 40, True)


def test_submitting_an_audit_twice_gives_the_same_audit_and_one_job(ledger: Ledger) -> None:
    attribution_id = record(ledger)
    first, second = ledger.submit_audit(attribution_id), ledger.submit_audit(attribution_id)
    assert first == second == ledger.audit(first.id)
    assert first.state is AuditState.QUEUED
    (entry,) = ledger.unpublished(10)
    assert (entry.task, entry.payload) == ("creditline.audit", {"attribution_id": attribution_id})


def test_submitting_at_once_from_many_threads_makes_one_audit(ledger: Ledger) -> None:
    attribution_id = record(ledger)
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: ledger.submit_audit(attribution_id).id, range(24)))
    assert len(made) == 1
    assert len(ledger.unpublished(10)) == 1


def test_an_audit_of_an_unknown_attribution_is_not_found_and_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.submit_audit("0" * 32)
    with pytest.raises(NotFound):
        ledger.audit("0" * 32)
    assert ledger.unpublished(10) == ()


def test_a_worker_that_was_called_directly_queues_no_second_job(ledger: Ledger) -> None:
    audit = ledger.submit_audit(record(ledger), publish=False)
    assert audit.state is AuditState.QUEUED
    assert ledger.unpublished(10) == ()


def test_a_sampled_attribution_is_recorded_together_with_its_audit(ledger: Ledger) -> None:
    attribution_id = record(ledger, with_audit=True)
    (entry,) = ledger.unpublished(10)
    assert ledger.audit(entry.audit_id).attribution_id == attribution_id


def test_only_one_worker_takes_an_audit(ledger: Ledger, clock: MovableClock) -> None:
    audit_id = ledger.submit_audit(record(ledger)).id
    assert ledger.acquire_audit(audit_id, "one", 60)
    assert not ledger.acquire_audit(audit_id, "two", 60)
    taken = ledger.audit(audit_id)
    assert (taken.state, taken.worker, taken.started) == (AuditState.RUNNING, "one", clock.now)


def test_another_worker_can_take_an_audit_whose_lease_has_expired(
    ledger: Ledger, clock: MovableClock
) -> None:
    audit_id = ledger.submit_audit(record(ledger)).id
    ledger.acquire_audit(audit_id, "one", 60)
    clock.pass_seconds(61)
    assert ledger.acquire_audit(audit_id, "two", 60)
    assert not ledger.renew_lease(audit_id, "one", 60)
    assert ledger.renew_lease(audit_id, "two", 600)
    clock.pass_seconds(61)
    assert not ledger.acquire_audit(audit_id, "one", 60)


def test_the_first_verdict_counts_and_later_ones_have_no_effect(ledger: Ledger, clock: MovableClock) -> None:
    audit_id = ledger.submit_audit(record(ledger)).id
    ledger.acquire_audit(audit_id, "one", 60)
    assert ledger.finish_audit(audit_id, verdict(0.5))
    assert not ledger.finish_audit(audit_id, verdict(0.9))
    assert not ledger.fail_audit(audit_id, "too late")
    assert not ledger.acquire_audit(audit_id, "two", 60)
    done = ledger.audit(audit_id)
    assert (done.state, done.verdict, done.error) == (AuditState.DONE, verdict(0.5), None)
    assert done.finished == clock.now


def test_a_failed_audit_keeps_its_reason(ledger: Ledger) -> None:
    audit_id = ledger.submit_audit(record(ledger)).id
    assert ledger.fail_audit(audit_id, "no generator; assemble it")
    assert not ledger.finish_audit(audit_id, verdict(0.5))
    failed = ledger.audit(audit_id)
    assert (failed.state, failed.error) == (AuditState.FAILED, "no generator; assemble it")


@pytest.mark.parametrize(
    ("recall", "missed", "named"),
    [(2.0, 0.1, "recall"), (0.5, -0.1, "missed_influence"), (nan, 0.1, "recall")],
)
def test_a_verdict_whose_headline_figures_are_not_fractions_is_refused(
    ledger: Ledger, recall: float, missed: float, named: str
) -> None:
    audit_id = ledger.submit_audit(record(ledger)).id
    with pytest.raises(InvalidInput, match=named):
        ledger.finish_audit(audit_id, verdict(recall, missed))
    assert ledger.audit(audit_id).state is AuditState.QUEUED


def test_accuracy_is_the_mean_over_finished_audits_of_that_release(ledger: Ledger) -> None:
    for recall, release in ((0.4, "r1"), (0.8, "r1"), (0.1, "r2")):
        ledger.finish_audit(ledger.submit_audit(record(ledger, release=release)).id, verdict(recall))
    ledger.submit_audit(record(ledger))
    # An answer from a picture alone does not count.
    alone = ledger.submit_audit(record(ledger, release="r1")).id
    ledger.finish_audit(alone, verdict(0.1), ordinary=False)
    assert ledger.audit(alone).verdict == verdict(0.1)
    # A re-ranked answer counts for the accuracy of its own form.
    reranked = ledger.submit_audit(record(ledger, release="r1")).id
    ledger.finish_audit(reranked, verdict(0.9), form=AnswerForm.RERANKED)
    assert ledger.accuracy("r1", AnswerForm.RERANKED).recall == pytest.approx(0.9)
    assert ledger.accuracy("r2", AnswerForm.RERANKED).audits == 0
    accuracy = ledger.accuracy("r1")
    assert accuracy.audits == 2
    assert accuracy.recall == pytest.approx(0.6)
    assert accuracy.missed_influence == pytest.approx(0.25)
    assert accuracy.recall_low is not None
    assert accuracy.recall_high is not None
    assert accuracy.recall_low < 0.6 < accuracy.recall_high


def test_without_audits_no_accuracy_is_claimed(ledger: Ledger) -> None:
    record(ledger)
    accuracy = ledger.accuracy("r1")
    assert (accuracy.audits, accuracy.recall, accuracy.missed_influence) == (0, None, None)


def test_a_published_job_is_not_offered_again_until_it_seems_lost(
    ledger: Ledger, clock: MovableClock
) -> None:
    audit_id = ledger.submit_audit(record(ledger)).id
    ledger.mark_published([entry.id for entry in ledger.unpublished(10)])
    assert ledger.unpublished(10) == ()
    clock.pass_seconds(301)
    assert [entry.audit_id for entry in ledger.unpublished(10)] == [audit_id]


def test_a_job_that_a_worker_holds_or_finished_is_never_offered_again(
    ledger: Ledger, clock: MovableClock
) -> None:
    audit_id = ledger.submit_audit(record(ledger)).id
    ledger.mark_published([entry.id for entry in ledger.unpublished(10)])
    ledger.acquire_audit(audit_id, "one", 3600)
    clock.pass_seconds(1000)
    assert ledger.unpublished(10) == ()
    clock.pass_seconds(3000)
    assert len(ledger.unpublished(10)) == 1
    ledger.finish_audit(audit_id, verdict(0.5))
    assert ledger.unpublished(10) == ()
