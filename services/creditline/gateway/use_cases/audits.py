"""Audits: asking the teacher to check an answer that was served, and reading what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from creditline.api.answers import AuditAnswer
from creditline.gateway.use_cases.requests import checked_ledger_id
from creditline.ledger import Audit, Ledger


class Audits:
    """The use cases behind the service `Audits` and `/v1/audits`.

    `wake_publisher` is called when a job may be waiting in the outbox.
    """

    def __init__(self, ledger: Ledger, wake_publisher: Callable[[], None]) -> None:
        self._ledger = ledger
        self._wake_publisher = wake_publisher

    async def submit(self, attribution_id: str) -> AuditAnswer:
        """The attribution's audit, queued now if there was none; it needs no broker to be up.

        Raises InvalidInput, NotFound.
        """
        checked = checked_ledger_id(attribution_id, field="attribution_id")
        audit = await asyncio.to_thread(self._ledger.submit_audit, checked)
        self._wake_publisher()
        return audit_answer(audit)

    async def get(self, audit_id: str) -> AuditAnswer:
        """An audit as it stands. Raises InvalidInput, NotFound."""
        checked = checked_ledger_id(audit_id, field="id")
        return audit_answer(await asyncio.to_thread(self._ledger.audit, checked))


def audit_answer(audit: Audit) -> AuditAnswer:
    """An audit as callers see it."""
    return AuditAnswer(
        id=audit.id,
        attribution_id=audit.attribution_id,
        state=audit.state.value,
        created=audit.created,
        finished=audit.finished,
        verdict=audit.verdict,
        error=audit.error,
    )
