"""Audits: requests to check a served answer with the teacher, and their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from creditline.api.answers import AuditAnswer
from creditline.api.pages import AuditPage
from creditline.errors import FailedPrecondition
from creditline.gateway.access.caller import Caller
from creditline.gateway.pages import PageRequest, PageTokens
from creditline.gateway.use_cases.requests import checked_ledger_id
from creditline.ledger import Audit, Ledger, Scope


class Audits:
    """The use cases behind the service `Audits` and `/v1/audits`.

    Args:
        ledger: Ledger that holds audits and their outbox.
        wake_publisher: Called when a job may be waiting in the outbox.
    """

    def __init__(self, ledger: Ledger, wake_publisher: Callable[[], None]) -> None:
        self._ledger = ledger
        self._wake_publisher = wake_publisher

    async def submit(self, attribution_id: str, caller: Caller) -> AuditAnswer:
        """Queue an audit of an attribution, or return the one that it has. The broker may be down.

        Raises:
            PermissionDenied: The caller may not request audits.
            InvalidInput: `attribution_id` is not an id of the ledger.
            FailedPrecondition: A filter restricts the answer, or it was asked for in private mode.
            NotFound: The ledger holds no such attribution, or it is another owner's.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.AUDIT)
        checked = checked_ledger_id(attribution_id, field="attribution_id")
        audit = await self._ledger.threads.write(self._submit, checked, caller.restricted_to)
        self._wake_publisher()
        return audit_answer(audit)

    def _submit(self, attribution_id: str, owner: str | None) -> Audit:
        if self._ledger.attribution(attribution_id, owner=owner).answer.get("filter") is not None:
            raise FailedPrecondition(
                f"answer {attribution_id} lists only works that pass a filter; an audit would count the"
                " others as missed: ask again without a filter, and submit that answer",
                field="attribution_id",
            )
        return self._ledger.submit_audit(attribution_id)

    async def get(self, audit_id: str, caller: Caller) -> AuditAnswer:
        """The current state of an audit.

        Raises:
            PermissionDenied: The caller may neither read answers nor request audits.
            InvalidInput: `audit_id` is not an id of the ledger.
            NotFound: The ledger holds no such audit, or it is one of another owner's attribution.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.READ, Scope.AUDIT)
        checked = checked_ledger_id(audit_id, field="id")
        audit = await self._ledger.threads.read(self._ledger.audit, checked, owner=caller.restricted_to)
        return audit_answer(audit)

    async def listed(self, page: PageRequest, caller: Caller) -> AuditPage:
        """A page of the audits of the caller's owner's answers, for an admin of all, newest first.

        Raises:
            PermissionDenied: The caller may neither read answers nor request audits.
            InvalidInput: The size or the token of the page cannot be used.
            Unavailable: The ledger does not answer.
        """
        caller.require(Scope.READ, Scope.AUDIT)
        owner, limit = caller.restricted_to, page.limit
        tokens = PageTokens("audits", owner)
        last = tokens.last(page.token, _read_position)
        read = partial(self._ledger.audits_before, limit=limit + 1, owner=owner)
        found = await self._ledger.threads.read(read, last)
        audits = tuple(_without_works(audit_answer(audit)) for audit in found[:limit])
        is_last = len(found) <= limit
        return AuditPage(audits, "" if is_last else tokens.token(_position(found[limit - 1])))


def _position(audit: Audit) -> str:
    """Where an audit stands in the list."""
    return f"{audit.created.isoformat()} {audit.id}"


def _read_position(position: str) -> tuple[datetime, str]:
    created, _, audit_id = position.partition(" ")
    return datetime.fromisoformat(created).astimezone(UTC), audit_id


def _without_works(audit: AuditAnswer) -> AuditAnswer:
    verdict = audit.verdict
    return audit if verdict is None else replace(audit, verdict=replace(verdict, works=()))


def audit_answer(audit: Audit) -> AuditAnswer:
    """Convert the ledger's audit to the answer for callers."""
    return AuditAnswer(
        id=audit.id,
        attribution_id=audit.attribution_id,
        state=audit.state.value,
        created=audit.created,
        finished=audit.finished,
        verdict=audit.verdict,
        error=audit.error,
    )
