"""The ledger: attributions served, audits run on them, jobs that are to be published, and withdrawals."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, or_, select, text, update

from creditline.api.answers import Verdict
from creditline.api.audits import verdict_from_json, verdict_to_json
from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import InvalidInput, NotFound
from creditline.jobs.tasks import AUDIT_TASK
from creditline.ledger.chain import GENESIS, attribution_hash
from creditline.ledger.interval import mean_interval
from creditline.ledger.records import (
    Accuracy,
    Audit,
    AuditState,
    ChainReport,
    OutboxEntry,
    StoredAttribution,
    Withdrawal,
    WithdrawalAction,
    WithdrawalKind,
)
from creditline.ledger.store import Store
from creditline.ledger.tables import attributions, audits, outbox
from creditline.ledger.verification import verified_chains
from creditline.ledger.withdrawals import (
    append_request,
    check_request,
    never_withdrawn,
    requests_after,
    standing_request,
    standing_requests,
    withdrawn_by,
)

# A published job that nobody has taken for so long is taken to be lost, and published again.
_REPUBLISH_AFTER_SECONDS = 300.0
_OPEN_STATES = (AuditState.QUEUED, AuditState.RUNNING)


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """Calls block on the database and may come from any thread; each is one transaction.

    All raise Unavailable when the database does not answer.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] = _now) -> Self:
        """Open `sqlite:///FILE` or a PostgreSQL URL, with the newest schema. Raises InvalidInput."""
        return cls(Store.open(url), clock)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ping(self) -> None:
        """Ask the database for nothing."""
        with self._store.transaction() as connection:
            connection.execute(text("SELECT 1"))

    # Attributions

    def record_attribution(
        self,
        *,
        release: str,
        generator: str,
        corpus: str,
        prompt: str,
        image: bytes,
        k: int,
        answer: Mapping[str, Any],
        with_audit: bool = False,
    ) -> str:
        """Append one served answer to the chain and return its id; `image` is the query as PNG.

        `with_audit` also queues its audit, in the same transaction.
        """
        row = {
            "id": uuid.uuid4().hex,
            "created": self._clock(),
            "release": release,
            "generator": generator,
            "corpus": corpus,
            "prompt": prompt,
            "image": image,
            "k": k,
            "answer": json.dumps(answer, sort_keys=True),
        }
        with self._store.transaction(writes=True) as connection:
            previous = _last_hash(connection)
            chained = {**row, "previous_hash": previous, "hash": attribution_hash(previous, row)}
            connection.execute(insert(attributions).values(chained))
            if with_audit:
                self._queue_audit(connection, str(row["id"]), release, publish=True)
        return str(row["id"])

    def attribution(self, attribution_id: str) -> StoredAttribution:
        """One attribution as it was served. Raises NotFound."""
        with self._store.transaction() as connection:
            found = connection.execute(
                select(attributions).where(attributions.c.id == attribution_id)
            ).one_or_none()
        if found is None:
            raise _no_attribution(attribution_id)
        return _attribution_of(found)

    def verify_chain(self) -> ChainReport:
        """Recompute every hash of attributions and withdrawals; each chain up to its first misfit."""
        with self._store.transaction() as connection:
            return verified_chains(connection)

    # Audits

    def submit_audit(self, attribution_id: str, *, publish: bool = True) -> Audit:
        """The attribution's audit, queued now if there was none. Raises NotFound.

        `publish` writes the job into the outbox, in the same transaction; a worker that was called by
        name already has the job and leaves it out.
        """
        with self._store.transaction(writes=True) as connection:
            audit = _audit_where(connection, audits.c.attribution_id == attribution_id)
            if audit is not None:
                return audit
            release = connection.scalar(
                select(attributions.c.release).where(attributions.c.id == attribution_id)
            )
            if release is None:
                raise _no_attribution(attribution_id)
            return self._queue_audit(connection, attribution_id, release, publish=publish)

    def _queue_audit(
        self, connection: Connection, attribution_id: str, release: str, *, publish: bool
    ) -> Audit:
        audit_id, now = uuid.uuid4().hex, self._clock()
        connection.execute(
            insert(audits).values(
                id=audit_id,
                attribution_id=attribution_id,
                release=release,
                state=AuditState.QUEUED,
                created=now,
            )
        )
        if publish:
            payload = json.dumps({"attribution_id": attribution_id})
            connection.execute(
                insert(outbox).values(audit_id=audit_id, task=AUDIT_TASK, payload=payload, created=now)
            )
        return Audit(audit_id, attribution_id, AuditState.QUEUED, now, None, None, None, None, None, None)

    def audit(self, audit_id: str) -> Audit:
        """One audit as it stands. Raises NotFound."""
        with self._store.transaction() as connection:
            audit = _audit_where(connection, audits.c.id == audit_id)
        if audit is None:
            raise NotFound(
                f"there is no audit {audit_id!r}; submit one for an attribution and use the id it returns",
                field="id",
            )
        return audit

    def audit_of(self, attribution_id: str) -> Audit | None:
        """The attribution's audit as it stands; None while nobody has asked for one."""
        with self._store.transaction() as connection:
            return _audit_where(connection, audits.c.attribution_id == attribution_id)

    def take_audit(self, audit_id: str, worker: str, lease_seconds: float) -> bool:
        """Take a queued audit, or one whose lease ran out, for `lease_seconds`; False if another has it."""
        now = self._clock()
        free = or_(
            audits.c.state == AuditState.QUEUED,
            and_(audits.c.state == AuditState.RUNNING, audits.c.lease_until < now),
        )
        return self._update_audit(
            and_(audits.c.id == audit_id, free),
            state=AuditState.RUNNING,
            worker=worker,
            started=func.coalesce(audits.c.started, now),
            lease_until=now + timedelta(seconds=lease_seconds),
        )

    def renew_lease(self, audit_id: str, worker: str, lease_seconds: float) -> bool:
        """Hold a taken audit for another `lease_seconds`; False when it is no longer this worker's."""
        held = and_(audits.c.id == audit_id, audits.c.state == AuditState.RUNNING, audits.c.worker == worker)
        return self._update_audit(held, lease_until=self._clock() + timedelta(seconds=lease_seconds))

    def finish_audit(self, audit_id: str, verdict: Verdict) -> bool:
        """Write the verdict.

        Returns:
            False, without any effect, when the audit was done or failed before.

        Raises:
            InvalidInput: The recall or the missed influence is not from 0 to 1.
        """
        return self._update_audit(
            _still_open(audit_id),
            state=AuditState.DONE,
            finished=self._clock(),
            verdict=json.dumps(verdict_to_json(verdict), sort_keys=True),
            recall=_part_of_one(verdict.recall.value, "recall"),
            missed_influence=_part_of_one(verdict.missed_influence.value, "missed_influence"),
        )

    def fail_audit(self, audit_id: str, error: str) -> bool:
        """Give an audit up; False, and no effect, when it was done or failed before."""
        return self._update_audit(
            _still_open(audit_id), state=AuditState.FAILED, finished=self._clock(), error=error
        )

    def _update_audit(self, which: ColumnElement[bool], **values: Any) -> bool:
        with self._store.transaction(writes=True) as connection:
            return connection.execute(update(audits).where(which).values(values)).rowcount == 1

    def accuracy(self, release: str) -> Accuracy:
        """What the finished audits of a release say so far."""
        done = and_(audits.c.release == release, audits.c.state == AuditState.DONE)
        with self._store.transaction() as connection:
            count, recall, missed = connection.execute(
                select(func.count(), func.avg(audits.c.recall), func.avg(audits.c.missed_influence)).where(
                    done
                )
            ).one()
        if count == 0:
            return Accuracy(0, None, None, None, None)
        return Accuracy(count, recall, *mean_interval(recall, count), missed)

    # Outbox

    def unpublished(
        self, limit: int, *, republish_after_seconds: float = _REPUBLISH_AFTER_SECONDS
    ) -> tuple[OutboxEntry, ...]:
        """Jobs to publish, oldest first: never published, or published and taken by nobody for too long."""
        now = self._clock()
        abandoned = or_(audits.c.state == AuditState.QUEUED, audits.c.lease_until < now)
        lost = and_(outbox.c.published_at < now - timedelta(seconds=republish_after_seconds), abandoned)
        waiting = (
            select(outbox)
            .join(audits, audits.c.id == outbox.c.audit_id)
            .where(audits.c.state.in_(_OPEN_STATES), or_(outbox.c.published_at.is_(None), lost))
            .order_by(outbox.c.id)
            .limit(limit)
        )
        with self._store.transaction() as connection:
            rows = connection.execute(waiting).all()
        return tuple(OutboxEntry(row.id, row.audit_id, row.task, json.loads(row.payload)) for row in rows)

    def mark_published(self, entry_ids: Collection[int]) -> None:
        """Note that these jobs were handed to the broker."""
        if not entry_ids:
            return
        with self._store.transaction(writes=True) as connection:
            connection.execute(
                update(outbox).where(outbox.c.id.in_(entry_ids)).values(published_at=self._clock())
            )

    # Withdrawals

    def withdraw(
        self, kind: WithdrawalKind, subject: str, *, reason: str = "", requested_by: str = ""
    ) -> Withdrawal:
        """Leave a work or all of a contributor out from now on; durable when this returns.

        Where it is withdrawn already, nothing is written and the standing withdrawal returned. Rows are never
        deleted: `reason` and `requested_by` are no place for personal data. Raises InvalidInput.
        """
        return self._append(kind, subject, WithdrawalAction.WITHDRAWN, reason, requested_by)

    def revoke(
        self, kind: WithdrawalKind, subject: str, *, reason: str = "", requested_by: str = ""
    ) -> Withdrawal:
        """Undo a withdrawal from now on, in the same way. Raises InvalidInput, NotFound without one."""
        return self._append(kind, subject, WithdrawalAction.REVOKED, reason, requested_by)

    def _append(
        self, kind: WithdrawalKind, subject: str, action: WithdrawalAction, reason: str, requested_by: str
    ) -> Withdrawal:
        check_request(subject, reason, requested_by)
        with self._store.transaction(writes=True) as connection:
            standing = standing_request(connection, kind, subject)
            if standing is not None and standing.action is action:
                return standing
            if standing is None and action is WithdrawalAction.REVOKED:
                raise never_withdrawn(kind, subject)
            return append_request(
                connection,
                created=self._clock(),
                kind=kind,
                subject=subject,
                action=action,
                reason=reason,
                requested_by=requested_by,
            )

    def withdrawn(self) -> Withdrawn:
        """All that is left out now."""
        return withdrawn_by(self.standing_withdrawals())

    def standing_withdrawals(self) -> tuple[Withdrawal, ...]:
        """The newest wish about each subject, oldest first; those taken back too."""
        with self._store.transaction() as connection:
            return standing_requests(connection)

    def withdrawals_after(self, sequence: int, *, limit: int | None = None) -> tuple[Withdrawal, ...]:
        """Every wish that came after the first `sequence`, oldest first, at most `limit` of them."""
        with self._store.transaction() as connection:
            return requests_after(connection, sequence, limit)


def _last_hash(connection: Connection) -> str:
    last = select(attributions.c.hash).order_by(attributions.c.sequence.desc()).limit(1)
    return connection.scalar(last) or GENESIS


def _no_attribution(attribution_id: str) -> NotFound:
    return NotFound(
        f"the ledger has no attribution {attribution_id!r}; use the id of an answer that was served",
        field="attribution_id",
    )


def _still_open(audit_id: str) -> ColumnElement[bool]:
    return and_(audits.c.id == audit_id, audits.c.state.in_(_OPEN_STATES))


def _part_of_one(value: float, name: str) -> float:
    if not 0.0 <= value <= 1.0:
        raise InvalidInput(f"{name} is {value}; it must be from 0 to 1", field="verdict")
    return value


def _attribution_of(row: Row[Any]) -> StoredAttribution:
    fields = dict(row._mapping)
    return StoredAttribution(answer_json=fields.pop("answer"), **fields)


def _audit_where(connection: Connection, which: ColumnElement[bool]) -> Audit | None:
    row = connection.execute(select(audits).where(which)).one_or_none()
    if row is None:
        return None
    return Audit(
        id=row.id,
        attribution_id=row.attribution_id,
        state=AuditState(row.state),
        created=row.created,
        started=row.started,
        finished=row.finished,
        lease_until=row.lease_until,
        worker=row.worker,
        verdict=verdict_from_json(json.loads(row.verdict)) if row.verdict is not None else None,
        error=row.error,
    )
