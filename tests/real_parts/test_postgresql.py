"""The ledger's whole life on a real PostgreSQL."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from creditline.errors import NotFound, Unavailable
from creditline.ledger import AuditState, KeyState, Ledger, Scope, StoreLimits, WithdrawalKind
from creditline.ledger.database.schema import REVISION, migrate
from creditline.ledger.tables import metadata
from tests.ledger.conftest import record, verdict

_WRITERS, _EACH = 3, 12


def test_the_migrations_make_the_tables_that_the_code_uses(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    with Ledger.open(postgres_url) as ledger:
        assert ledger.attribution(record(ledger, "a kite")).prompt == "a kite"


def test_a_new_ledger_has_the_tables_that_the_code_uses(postgres_url: str) -> None:
    Ledger.open(postgres_url).close()
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        revisions = connection.scalars(text("SELECT version_num FROM alembic_version")).all()
    assert revisions == [REVISION]
    engine.dispose()


def test_an_attribution_and_its_audit_live_from_the_outbox_to_the_verdict(postgres_url: str) -> None:
    with Ledger.open(postgres_url) as ledger:
        attribution_id = record(ledger, "ein rotes Marienkäferchen 🐞", with_audit=True)
        (entry,) = ledger.unpublished(10)
        ledger.mark_published([entry.id])
        assert ledger.unpublished(10) == ()
        assert ledger.acquire_audit(entry.audit_id, "worker-1", lease_seconds=60.0)
        assert not ledger.acquire_audit(entry.audit_id, "worker-2", lease_seconds=60.0)
        assert ledger.renew_lease(entry.audit_id, "worker-1", lease_seconds=60.0)
        assert ledger.finish_audit(entry.audit_id, verdict(0.75))
        assert not ledger.finish_audit(entry.audit_id, verdict(0.25))
    with Ledger.open(postgres_url) as reopened:
        stored, audit = reopened.attribution(attribution_id), reopened.audit_of(attribution_id)
        assert (stored.prompt, stored.image) == ("ein rotes Marienkäferchen 🐞", b"\x89PNG...")
        assert audit is not None
        assert (audit.state, audit.worker, audit.verdict) == (AuditState.DONE, "worker-1", verdict(0.75))
        assert (reopened.accuracy("r1").audits, reopened.accuracy("r1").recall) == (1, 0.75)
        statistics = reopened.statistics()
        assert statistics.accuracy == {"r1": reopened.accuracy("r1")}
        assert statistics.size_bytes > 1 << 20


def test_a_withdrawal_stands_until_it_is_revoked(postgres_url: str) -> None:
    with Ledger.open(postgres_url) as ledger:
        with pytest.raises(NotFound):
            ledger.revoke(WithdrawalKind.WORK, "w1")
        ledger.withdraw(WithdrawalKind.WORK, "w1", reason="asked for")
        ledger.withdraw(WithdrawalKind.CONTRIBUTOR, "Ana Example")
        assert ledger.withdrawn().covers("w1", "somebody")
        ledger.revoke(WithdrawalKind.WORK, "w1")
        assert not ledger.withdrawn().covers("w1", "somebody")
        assert ledger.withdrawn().covers("w2", "Ana Example")
        assert ledger.verify_chain().intact


def test_writers_that_open_a_new_ledger_and_write_at_once_make_one_chain(postgres_url: str) -> None:
    together = threading.Barrier(_WRITERS)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            together.wait(60)
            with Ledger.open(postgres_url) as ledger:
                for row in range(_EACH):
                    record(ledger, f"writer {number}, row {row}", with_audit=True)
                    ledger.withdraw(WithdrawalKind.WORK, f"work {number}.{row}")
        except BaseException as failure:
            failures.append(failure)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(_WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert failures == []
    with Ledger.open(postgres_url) as ledger:
        report = ledger.verify_chain()
        assert report.intact
        assert (report.attributions, report.withdrawals) == (_WRITERS * _EACH, _WRITERS * _EACH)
        assert len(ledger.unpublished(1000)) == _WRITERS * _EACH


def test_an_api_key_is_made_used_rotated_and_revoked(postgres_url: str) -> None:
    with Ledger.open(postgres_url) as ledger:
        made = ledger.keys.create("Museum 🖼", [Scope.READ], expires_in=timedelta(days=2)).record
        ledger.keys.record_uses({made.id: made.created})
        successor = ledger.keys.rotate(made.id, overlap=timedelta(days=1)).record
        ledger.keys.revoke(successor.id)
    with Ledger.open(postgres_url) as reopened:
        old, new = reopened.keys.all()
        assert (old.owner, old.last_used, old.replaced_by) == ("Museum 🖼", made.created, new.id)
        assert old.expires == new.created + timedelta(days=1)
        assert new.state(new.created) is KeyState.REVOKED
        assert [key.id for key in reopened.keys.changed_after(old.version)] == [new.id]


def test_a_writer_that_another_session_blocks_fails_in_time_and_reads_go_on(postgres_url: str) -> None:
    holder = create_engine(postgres_url)
    limits = StoreLimits(lock_seconds=0.3, statement_seconds=1.0)
    with Ledger.open(postgres_url, limits=limits) as ledger, holder.connect() as session:
        attribution_id = record(ledger)
        # What a process does that is stuck amid a write.
        session.execute(text("LOCK TABLE attributions IN EXCLUSIVE MODE"))
        began = time.monotonic()
        with pytest.raises(Unavailable, match="holds a lock"):
            record(ledger)
        assert time.monotonic() - began < 5.0
        assert ledger.attribution(attribution_id).id == attribution_id
        with pytest.raises(Unavailable, match="statement timeout"), ledger._store.transaction() as connection:
            connection.execute(text("SELECT pg_sleep(5)"))
        session.rollback()
        record(ledger)
    holder.dispose()


def test_an_answer_that_was_not_delivered_counts_nowhere(postgres_url: str) -> None:
    with Ledger.open(postgres_url) as ledger:
        audit = ledger.submit_audit(record(ledger, release="undelivered", awaits_delivery=True))
        assert ledger.acquire_audit(audit.id, "worker", 60)
        ledger.finish_audit(audit.id, verdict(0.5))
        assert ledger.accuracy("undelivered").audits == 1
        assert ledger.mark_undelivered([audit.attribution_id]) == 1
        assert ledger.accuracy("undelivered").audits == 0
        ledger.mark_delivered(audit.attribution_id)
        assert ledger.accuracy("undelivered").audits == 1
        assert ledger.verify_chain().intact
