"""Audits: requests to check a served answer with the teacher, and their results."""

from __future__ import annotations

from collections.abc import Callable

from creditline.api.answers import AuditAnswer
from creditline.errors import InvalidInput
from creditline.gateway.access.caller import Caller
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
            InvalidInput: `attribution_id` is not an id of the ledger, or a filter restricts the answer, or it
                was asked for in private mode.
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
            raise InvalidInput(
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
