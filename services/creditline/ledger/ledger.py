"""The ledger: served attributions, their audits, the outbox of jobs, withdrawals and merged contributors."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    func,
    insert,
    or_,
    select,
    text,
    true,
    update,
)

from creditline.api.answers import AnswerForm, Verdict
from creditline.api.audits import verdict_from_json, verdict_to_json
from creditline.corpus.identity import People, PersonReference
from creditline.corpus.names import display_name
from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import FailedPrecondition, InvalidInput, NotFound
from creditline.jobs.tasks import AUDIT_TASK
from creditline.ledger.additions import (
    AdditionKind,
    AdditionRecord,
    Additions,
    additions_to,
    append_addition,
)
from creditline.ledger.api.lists import ListedAttribution, attributions_before, audits_before
from creditline.ledger.api.replies import KeptReply, ReplyOnce, RequestKey, keep_reply, kept_reply
from creditline.ledger.api.undelivered import (
    confirm_delivered,
    insert_attribution,
    is_lost,
    is_served,
    mark_delivered,
    mark_undelivered,
    unconfirmed_before,
)
from creditline.ledger.chain import GENESIS, attribution_hash
from creditline.ledger.database.store import Store, StoreLimits
from creditline.ledger.database.threads import LedgerThreads
from creditline.ledger.interval import mean_interval
from creditline.ledger.keys import KeyRegistry
from creditline.ledger.merges import (
    append_merge,
    check_merge,
    latest_merge,
    merges_after,
    people_of,
    standing_merges,
)
from creditline.ledger.records import (
    PRIVATE,
    Accuracy,
    Audit,
    AuditState,
    ChainReport,
    Merge,
    MergeAction,
    OutboxEntry,
    StoredAttribution,
    Withdrawal,
    WithdrawalAction,
    WithdrawalKind,
)
from creditline.ledger.requests import check_request
from creditline.ledger.statistics import LedgerStatistics, ledger_statistics
from creditline.ledger.tables import attributions, audits, outbox
from creditline.ledger.verification import verified_chains
from creditline.ledger.withdrawals import (
    append_request,
    latest_request,
    never_withdrawn,
    requests_after,
    standing_request,
    standing_requests,
    withdrawals_of_work,
    withdrawn_by,
    withdrawn_by_another,
    withdrawn_members,
)
from creditline.observability.tracing import trace_parent

# A published job that no worker has taken for this long counts as lost and is published again.
_REPUBLISH_AFTER_SECONDS = 300.0
_OPEN_STATES = (AuditState.QUEUED, AuditState.RUNNING)
# Statements of every answer: building one takes longer than running it.
_LAST_HASH = select(attributions.c.hash).order_by(attributions.c.sequence.desc()).limit(1)
_LATEST_CHANGES = select(latest_request(), latest_merge())


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """The ledger of one deployment.

    Calls block on the database and are thread-safe; each call is one transaction. Every call raises
    Unavailable when the database does not answer.

    Args:
        store: The database.
        clock: Returns the current time, with a time zone.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self.keys = KeyRegistry(store, clock)
        """The API keys of the deployment."""
        self.threads = LedgerThreads()
        """Threads for calls from an event loop."""

    @classmethod
    def open(
        cls, url: str, *, clock: Callable[[], datetime] = _now, limits: StoreLimits | None = None
    ) -> Self:
        """Connect to the database and upgrade its schema.

        Args:
            url: `sqlite:///FILE` or a PostgreSQL URL.
            clock: Returns the current time, with a time zone.
            limits: Longest times that transactions wait.

        Raises:
            InvalidInput: The URL does not name a database that can hold a ledger.
        """
        return cls(Store.open(url, limits), clock)

    def close(self) -> None:
        """End the threads, and close all connections to the database."""
        self.threads.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ping(self) -> None:
        """Check that the database is reachable."""
        with self._store.transaction() as connection:
            connection.execute(text("SELECT 1"))

    # Operation

    def statistics(self) -> LedgerStatistics:
        """Size and state of the ledger; with many audits this takes a while, so no request waits for it."""
        with self._store.transaction() as connection:
            return ledger_statistics(connection, self._clock())

    def observe_write_waits(self, observe: Callable[[float], None]) -> None:
        """Have `observe` called with the time, in seconds, that each write waited for the others."""
        self._store.on_write_wait = observe

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
        owner: str = "",
        with_audit: bool = False,
        once: ReplyOnce | None = None,
        own_id: str = "",
        check: Callable[[], None] = lambda: None,
        awaits_delivery: bool = False,
    ) -> str:
        """Append a served answer to the chain.

        Args:
            release: Name of the release that answered.
            generator: Fingerprint of the generator.
            corpus: Fingerprint of the corpus.
            prompt: Prompt of the query.
            image: Picture of the query, as a file.
            k: Number of works that the caller asked for.
            answer: The answer, as JSON.
            owner: Owner of the API key that asked; empty where no key is needed.
            with_audit: Also queue an audit of it, in the same transaction.
            once: Records a request that may be repeated once, and keeps the reply, in the same transaction;
                None: it has no id.
            own_id: Id of the attribution, 32 hexadecimal digits; empty: a random one.
            check: Called inside the transaction when it may write, and before it is committed; raises where
                nobody waits for the answer any more, and then nothing is recorded.
            awaits_delivery: Whether it will be confirmed that it was sent (`confirm_delivered`), or marked
                (`mark_undelivered`); what is neither is found by `mark_unconfirmed`.

        Returns:
            Id of the attribution; that of the first where a request that may be repeated was answered before.

        Raises:
            Conflict: The id of the request was used for another one.
        """
        row = {
            "id": own_id or uuid.uuid4().hex,
            "created": self._clock(),
            "release": release,
            "generator": generator,
            "corpus": corpus,
            "prompt": prompt,
            "image": image,
            "k": k,
            "answer": json.dumps(answer, sort_keys=True),
            "owner": owner,
        }
        with self._store.transaction(writes=True) as connection:
            check()
            kept = kept_reply(connection, once.key, self._clock()) if once else None
            if kept is not None:
                return kept.attribution_id
            previous = _last_hash(connection)
            chained = {**row, "previous_hash": previous, "hash": attribution_hash(previous, row)}
            insert_attribution(connection, chained, awaits_delivery=awaits_delivery)
            if with_audit:
                self._queue_audit(connection, str(row["id"]), release, publish=True)
            if once is not None:
                reply = KeptReply(str(row["id"]), once.reply(str(row["id"])))
                keep_reply(connection, once.key, reply, self._clock())
            check()
        return str(row["id"])

    def mark_undelivered(self, attribution_ids: Collection[str]) -> int:
        """Mark answers whose callers left before they were sent, and end queued audits of them.

        Args:
            attribution_ids: Ids of answers that were recorded with `awaits_delivery`. Those that were
                confirmed, or that a repeated request got, are ignored.

        Returns:
            Number of answers that are marked now and were not before.
        """
        with self._store.transaction(writes=True) as connection:
            return mark_undelivered(connection, attribution_ids, self._clock())

    def confirm_delivered(self, attribution_ids: Collection[str]) -> None:
        """Note that answers were sent that were recorded with `awaits_delivery`."""
        with self._store.transaction(writes=True) as connection:
            confirm_delivered(connection, attribution_ids, self._clock())

    def mark_unconfirmed(self, *, older_than_seconds: float, limit: int = 1_000) -> int:
        """Mark answers whose gateway neither confirmed nor marked them: it was killed.

        Args:
            older_than_seconds: Time since they were recorded, longer than any request may take.
            limit: Largest number of answers.

        Returns:
            Number of answers that were marked.
        """
        before = self._clock() - timedelta(seconds=older_than_seconds)
        with self._store.transaction() as connection:
            found = unconfirmed_before(connection, before, limit=limit)
        return self.mark_undelivered(found) if found else 0

    def mark_delivered(self, attribution_id: str) -> None:
        """Note that a repeated request got an answer that was marked as undelivered before."""
        with self._store.transaction(writes=True) as connection:
            mark_delivered(connection, attribution_id, self._clock())

    def kept_reply(self, key: RequestKey) -> bytes | None:
        """The reply that was given to a request before; None: it was not answered in the last 24 hours.

        Raises:
            Conflict: The id was used for another request.
        """
        with self._store.transaction() as connection:
            kept = kept_reply(connection, key, self._clock())
        return None if kept is None else kept.reply

    def attribution(self, attribution_id: str, *, owner: str | None = None) -> StoredAttribution:
        """Read an attribution as it was served.

        Args:
            attribution_id: Id of the attribution.
            owner: Owner whose attributions count; None: all.

        Raises:
            NotFound: There is no such attribution, or it is another owner's.
        """
        this = and_(attributions.c.id == attribution_id, _owned(owner))
        with self._store.transaction() as connection:
            lost = is_lost(attributions.c.id).label("undelivered")
            found = connection.execute(select(attributions, lost).where(this)).one_or_none()
        if found is None:
            raise _no_attribution(attribution_id)
        return _attribution_of(found)

    def attributions_before(
        self, sequence: int | None, *, limit: int, owner: str | None = None
    ) -> tuple[ListedAttribution, ...]:
        """Attributions before a sequence number, newest first.

        Args:
            sequence: Sequence number before which to read; None: from the newest.
            limit: Largest number of attributions.
            owner: Owner whose attributions count; None: all.
        """
        with self._store.transaction() as connection:
            return attributions_before(connection, sequence, limit=limit, owner=owner)

    def verify_chain(self) -> ChainReport:
        """Recompute the hashes of all three chains, each up to its first mismatch."""
        with self._store.transaction() as connection:
            return verified_chains(connection)

    # Audits

    def submit_audit(self, attribution_id: str, *, publish: bool = True) -> Audit:
        """Queue an audit of an attribution, unless it already has one.

        Args:
            attribution_id: Id of the attribution.
            publish: Write the job to the outbox, in the same transaction. A worker that was called directly
                already has the job and sets this to False.

        Returns:
            The audit, new or existing.

        Raises:
            NotFound: There is no such attribution.
            FailedPrecondition: It was asked for in private mode, so that there is nothing to audit.
        """
        with self._store.transaction(writes=True) as connection:
            audit = _audit_where(connection, audits.c.attribution_id == attribution_id)
            if audit is not None:
                return audit
            this = attributions.c.id == attribution_id
            found = connection.execute(
                select(attributions.c.release, attributions.c.answer).where(this)
            ).one_or_none()
            if found is None:
                raise _no_attribution(attribution_id)
            if json.loads(found.answer).get(PRIVATE, False):
                raise _nothing_to_audit(attribution_id)
            return self._queue_audit(connection, attribution_id, found.release, publish=publish)

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
                insert(outbox).values(
                    audit_id=audit_id,
                    task=AUDIT_TASK,
                    payload=payload,
                    created=now,
                    trace_parent=trace_parent(),
                )
            )
        return Audit(audit_id, attribution_id, AuditState.QUEUED, now, None, None, None, None, None, None)

    def audit(self, audit_id: str, *, owner: str | None = None) -> Audit:
        """Read the current state of an audit.

        Args:
            audit_id: Id of the audit.
            owner: Owner whose attributions' audits count; None: all.

        Raises:
            NotFound: There is no such audit, or it is one of another owner's attribution.
        """
        this = audits.c.id == audit_id
        if owner is not None:
            own = select(attributions.c.id).where(_owned(owner))
            this = and_(this, audits.c.attribution_id.in_(own))
        with self._store.transaction() as connection:
            audit = _audit_where(connection, this)
        if audit is None:
            raise NotFound(
                f"there is no audit {audit_id!r}; submit one for an attribution and use the id it returns",
                field="id",
            )
        return audit

    def audit_of(self, attribution_id: str) -> Audit | None:
        """Current state of an attribution's audit; None: no audit was submitted."""
        with self._store.transaction() as connection:
            return _audit_where(connection, audits.c.attribution_id == attribution_id)

    def audits_before(
        self, last: tuple[datetime, str] | None, *, limit: int, owner: str | None = None
    ) -> tuple[Audit, ...]:
        """Audits before a time of creation and an id, newest first.

        Args:
            last: Time and id before which to read; None: from the newest.
            limit: Largest number of audits.
            owner: Owner whose attributions' audits count; None: all.
        """
        with self._store.transaction() as connection:
            return tuple(map(_audit_of, audits_before(connection, last, limit=limit, owner=owner)))

    def acquire_audit(self, audit_id: str, worker: str, lease_seconds: float) -> bool:
        """Take a queued audit, or one whose lease has expired.

        Args:
            audit_id: Id of the audit.
            worker: Name of the worker that takes it.
            lease_seconds: Duration of the lease.

        Returns:
            False when another worker holds the audit, or it is finished.
        """
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
        """Extend the lease of an audit to `lease_seconds` from now.

        Returns:
            False when the worker no longer holds the audit.
        """
        held = and_(audits.c.id == audit_id, audits.c.state == AuditState.RUNNING, audits.c.worker == worker)
        return self._update_audit(held, lease_until=self._clock() + timedelta(seconds=lease_seconds))

    def finish_audit(
        self, audit_id: str, verdict: Verdict, *, ordinary: bool = True, form: AnswerForm = AnswerForm.FAST
    ) -> bool:
        """Store the verdict of an audit.

        Args:
            audit_id: Id of the audit.
            verdict: The verdict.
            ordinary: Whether it counts for the release's accuracy. That of an answer from a picture alone
                does not: such answers are much less accurate than ordinary ones.
            form: Form of the audited answer, for whose accuracy it counts.

        Returns:
            False, without any effect, when the audit is already done or failed.

        Raises:
            InvalidInput: The recall or the missed influence is not between 0 and 1.
        """
        headline = {
            "recall": _checked_fraction(verdict.recall.value, "recall"),
            "missed_influence": _checked_fraction(verdict.missed_influence.value, "missed_influence"),
        }
        return self._update_audit(
            _still_open(audit_id),
            state=AuditState.DONE,
            finished=self._clock(),
            verdict=json.dumps(verdict_to_json(verdict), sort_keys=True),
            form=form,
            **(headline if ordinary else {}),
        )

    def fail_audit(self, audit_id: str, error: str) -> bool:
        """Mark an audit as failed.

        Args:
            audit_id: Id of the audit.
            error: Reason of the failure.

        Returns:
            False, without any effect, when the audit is already done or failed.
        """
        return self._update_audit(
            _still_open(audit_id), state=AuditState.FAILED, finished=self._clock(), error=error
        )

    def _update_audit(self, which: ColumnElement[bool], **values: Any) -> bool:
        with self._store.transaction(writes=True) as connection:
            return connection.execute(update(audits).where(which).values(values)).rowcount == 1

    def accuracy(self, release: str, form: AnswerForm = AnswerForm.FAST) -> Accuracy:
        """Accuracy of a release by finished audits of ordinary, delivered answers of one form.

        Args:
            release: Name of the release.
            form: Form of the answers.
        """
        done = and_(
            audits.c.release == release,
            audits.c.form == form,
            audits.c.state == AuditState.DONE,
            is_served(audits.c.attribution_id),
        )
        with self._store.transaction() as connection:
            count, recall, missed = connection.execute(
                select(
                    func.count(audits.c.recall),
                    func.avg(audits.c.recall),
                    func.avg(audits.c.missed_influence),
                ).where(done)
            ).one()
        if count == 0:
            return Accuracy(0, None, None, None, None)
        return Accuracy(count, recall, *mean_interval(recall, count), missed)

    # Outbox

    def unpublished(
        self, limit: int, *, republish_after_seconds: float = _REPUBLISH_AFTER_SECONDS
    ) -> tuple[OutboxEntry, ...]:
        """Jobs to publish, oldest first.

        Args:
            limit: Maximum number of jobs.
            republish_after_seconds: Time after which a published job without a worker counts as lost.

        Returns:
            Jobs of open audits that were never published, or that count as lost.
        """
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
        return tuple(
            OutboxEntry(row.id, row.audit_id, row.task, json.loads(row.payload), row.trace_parent)
            for row in rows
        )

    def mark_published(self, entry_ids: Collection[int]) -> None:
        """Record that jobs were handed to the broker."""
        if not entry_ids:
            return
        with self._store.transaction(writes=True) as connection:
            connection.execute(
                update(outbox).where(outbox.c.id.in_(entry_ids)).values(published_at=self._clock())
            )

    # Withdrawals

    def withdraw(
        self,
        kind: WithdrawalKind,
        subject: str,
        *,
        reason: str = "",
        requested_by: str = "",
        owner: str = "",
    ) -> Withdrawal:
        """Withdraw a work, or all works of a contributor; durable when the call returns.

        When the owner has withdrawn the subject already, in whichever spelling, nothing is written. Rows are
        never deleted, so `reason` and `requested_by` must not contain personal data.

        Args:
            kind: Whether the subject is a work, or a contributor by name or by id.
            subject: Id of the work, or name or id of the contributor.
            reason: Why the withdrawal was requested.
            requested_by: Who requested it.
            owner: Owner of the API key; each owner's withdrawal stands until that one is revoked.

        Returns:
            The request in force, new or existing.

        Raises:
            InvalidInput: A text is too long or not valid, or the subject is empty.
        """
        check_request(subject, reason, requested_by)
        with self._store.transaction(writes=True) as connection:
            standing = standing_request(connection, kind, subject, owner)
            if standing is not None and standing.is_withdrawn:
                return standing
            written = subject if kind is WithdrawalKind.WORK else display_name(subject)
            request = _Request(
                kind, written, WithdrawalAction.WITHDRAWN, reason, requested_by, owner, made_by=owner
            )
            return self._append(connection, request)

    def revoke(
        self,
        kind: WithdrawalKind,
        subject: str,
        *,
        reason: str = "",
        requested_by: str = "",
        people: People | None = None,
        owner: str | None = None,
        made_by: str = "",
    ) -> Withdrawal:
        """Revoke a withdrawal; durable when the call returns.

        The withdrawal of a person is revoked under all names and ids of the person. When it is already
        revoked, nothing is written. Other arguments are those of `withdraw`.

        Args:
            people: Which names and ids are one person; None: as the merges of this ledger have it.
            owner: Owner whose withdrawals are revoked; None: of all owners.
            made_by: Owner of the API key that revokes them.

        Returns:
            The request in force, new or existing.

        Raises:
            InvalidInput: A text is too long or not valid, or the subject is empty.
            NotFound: The subject was never withdrawn.
            PermissionDenied: It is withdrawn, but not by `owner`.
        """
        check_request(subject, reason, requested_by)
        with self._store.transaction(writes=True) as connection:
            in_force = self._withdrawals_of(connection, kind, subject, people)
            own = [request for request in in_force if owner in (None, request.owner)]
            if in_force and not own:
                raise withdrawn_by_another(kind, subject)
            revoked = None
            for standing in own:
                request = _Request(
                    standing.kind,
                    standing.subject,
                    WithdrawalAction.REVOKED,
                    reason,
                    requested_by,
                    standing.owner,
                    made_by,
                )
                revoked = self._append(connection, request)
            found = revoked or standing_request(connection, kind, subject, owner)
        if found is None:
            raise never_withdrawn(kind, subject)
        return found

    @staticmethod
    def _withdrawals_of(
        connection: Connection, kind: WithdrawalKind, subject: str, people: People | None
    ) -> tuple[Withdrawal, ...]:
        """The withdrawals in force that a revocation concerns, of all owners."""
        if kind is WithdrawalKind.WORK:
            return withdrawals_of_work(connection, subject)
        if people is None:
            people = people_of(standing_merges(merges_after(connection, 0, None)))
        return withdrawn_members(connection, kind.key(subject), people)

    def _append(self, connection: Connection, request: _Request) -> Withdrawal:
        return append_request(
            connection,
            created=self._clock(),
            kind=request.kind,
            subject=request.subject,
            action=request.action,
            reason=request.reason,
            requested_by=request.requested_by,
            owner=request.owner,
            made_by=request.made_by,
        )

    def withdrawn(self) -> Withdrawn:
        """All works and contributors that are withdrawn now."""
        with self._store.transaction() as connection:
            requests = standing_requests(connection)
            return withdrawn_by(requests, standing_merges(merges_after(connection, 0, None)))

    def standing_withdrawals(self) -> tuple[Withdrawal, ...]:
        """Latest request of each owner about each subject, including revocations, oldest first."""
        with self._store.transaction() as connection:
            return standing_requests(connection)

    def withdrawals_after(
        self, sequence: int, *, limit: int | None = None, owner: str | None = None
    ) -> tuple[Withdrawal, ...]:
        """Withdrawal requests after a given sequence number, oldest first.

        Args:
            sequence: Sequence number after which to read.
            limit: Maximum number of requests; None: all.
            owner: Owner of the requests; None: all.
        """
        with self._store.transaction() as connection:
            return requests_after(connection, sequence, limit, owner)

    def changes_after(
        self, withdrawals: int, merges: int
    ) -> tuple[tuple[Withdrawal, ...], tuple[Merge, ...]]:
        """Withdrawal requests and merges after the given sequence numbers, read in one transaction."""
        with self._store.transaction() as connection:
            # Before every answer, and nearly always there is nothing new.
            if tuple(connection.execute(_LATEST_CHANGES).one()) == (withdrawals, merges):
                return (), ()
            return requests_after(connection, withdrawals, None), merges_after(connection, merges, None)

    # Merged contributors

    def merge(
        self, person: PersonReference, other: PersonReference, *, reason: str = "", requested_by: str = ""
    ) -> Merge:
        """Record that two names or ids are one person; durable when the call returns.

        When they are already merged with each other, nothing is written. Records are never deleted, so
        `reason` and `requested_by` must not contain personal data.

        Args:
            person: The one under whom the works of both are credited.
            other: The other name or id.
            reason: Why it is recorded.
            requested_by: Who requested it.

        Returns:
            The record in force, new or existing.

        Raises:
            InvalidInput: A text is too long or not valid, or both are one name already.
        """
        return self._append_merge(person, other, MergeAction.MERGED, reason, requested_by)

    def revoke_merge(
        self, person: PersonReference, other: PersonReference, *, reason: str = "", requested_by: str = ""
    ) -> Merge:
        """Revoke a merge, in either order of the two; arguments are those of `merge`.

        Returns:
            The record in force, new or existing.

        Raises:
            InvalidInput: A text is too long or not valid.
            NotFound: The two were never merged with each other.
        """
        return self._append_merge(person, other, MergeAction.REVOKED, reason, requested_by)

    def _append_merge(
        self,
        person: PersonReference,
        other: PersonReference,
        action: MergeAction,
        reason: str,
        requested_by: str,
    ) -> Merge:
        check_merge(person, other, reason, requested_by)
        with self._store.transaction(writes=True) as connection:
            return append_merge(
                connection,
                created=self._clock(),
                person=person,
                other=other,
                action=action,
                reason=reason,
                requested_by=requested_by,
            )

    def merges_after(self, sequence: int, *, limit: int | None = None) -> tuple[Merge, ...]:
        """Records about merged contributors after a given sequence number, oldest first.

        Args:
            sequence: Sequence number after which to read.
            limit: Maximum number of records; None: all.
        """
        with self._store.transaction() as connection:
            return merges_after(connection, sequence, limit)

    # Works added to a release

    def record_addition(
        self,
        kind: AdditionKind,
        *,
        release: str,
        generator: str,
        content: Mapping[str, Any],
        addition: str | None = None,
        requested_by: str = "",
    ) -> AdditionRecord:
        """Record a statement about works added to a release, or what became of one; durable on return.

        Args:
            kind: What is recorded.
            release: Name of the release.
            generator: Fingerprint of the generator that was trained on the works.
            content: Details, as JSON.
            addition: Id of the statement; None: the record is one.
            requested_by: Who states it.

        Raises:
            InvalidInput: The generator is no fingerprint, or a text is too long or not valid.
        """
        with self._store.transaction(writes=True) as connection:
            return append_addition(
                connection,
                created=self._clock(),
                kind=kind,
                addition=addition,
                release=release,
                generator=generator,
                requested_by=requested_by,
                content=content,
            )

    def additions(self, release: str) -> Additions:
        """All records about works added to a release, oldest first."""
        with self._store.transaction() as connection:
            return additions_to(connection, release)


@dataclass(frozen=True)
class _Request:
    """A withdrawal request that was checked."""

    kind: WithdrawalKind
    """Kind of the subject."""
    subject: str
    """Id of the work, or name or id of the contributor."""
    action: WithdrawalAction
    """Whether the subject is withdrawn or its withdrawal is revoked."""
    reason: str
    """Why it was requested."""
    requested_by: str
    """Who requested it."""
    owner: str
    """Owner of the withdrawal."""
    made_by: str
    """Owner of the API key that makes the request."""


def _last_hash(connection: Connection) -> str:
    return connection.scalar(_LAST_HASH) or GENESIS


def _owned(owner: str | None) -> ColumnElement[bool]:
    """Attributions of an owner; None: all."""
    return true() if owner is None else attributions.c.owner == owner


def _no_attribution(attribution_id: str) -> NotFound:
    return NotFound(
        f"the ledger has no attribution {attribution_id!r}; use the id of an answer that was served",
        field="attribution_id",
    )


def _nothing_to_audit(attribution_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"answer {attribution_id} was asked for with a vector, in private mode: without picture and prompt"
        " nothing can be audited; ask again with them, and submit that answer",
        field="attribution_id",
    )


def _still_open(audit_id: str) -> ColumnElement[bool]:
    return and_(audits.c.id == audit_id, audits.c.state.in_(_OPEN_STATES))


def _checked_fraction(value: float, name: str) -> float:
    if not 0.0 <= value <= 1.0:
        raise InvalidInput(f"{name} is {value}; it must be between 0 and 1", field="verdict")
    return value


def _attribution_of(row: Row[Any]) -> StoredAttribution:
    fields = dict(row._mapping)
    return StoredAttribution(answer_json=fields.pop("answer"), **fields)


def _audit_where(connection: Connection, which: ColumnElement[bool]) -> Audit | None:
    row = connection.execute(select(audits).where(which)).one_or_none()
    return None if row is None else _audit_of(row)


def _audit_of(row: Row[Any]) -> Audit:
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
