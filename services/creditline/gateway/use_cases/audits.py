"""Audits: asking the teacher to check an answer that was served, and reading what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from creditline.api.answers import AuditAnswer, AuditedWork, Estimate, Verdict
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
        verdict=None if audit.verdict is None else _verdict(audit.verdict),
        error=audit.error,
    )


def _verdict(stored: Mapping[str, Any]) -> Verdict:
    """From the ledger's JSON. As in protobuf JSON, a number that is left out is 0."""
    return Verdict(
        query_rise=float(stored.get("query_rise", 0.0)),
        recall=_estimate(stored.get("recall", {})),
        missed_influence=_estimate(stored.get("missed_influence", {})),
        ndcg=_estimate(stored.get("ndcg", {})),
        rank_correlation=_estimate(stored.get("rank_correlation", {})),
        listed_works=int(stored.get("listed_works", 0)),
        sampled_works=int(stored.get("sampled_works", 0)),
        seconds=float(stored.get("seconds", 0.0)),
        works=tuple(_audited_work(work) for work in stored.get("works", ())),
    )


def _estimate(stored: Mapping[str, Any]) -> Estimate:
    return Estimate(*(float(stored.get(name, 0.0)) for name in ("value", "low", "high")))


def _audited_work(stored: Mapping[str, Any]) -> AuditedWork:
    return AuditedWork(
        str(stored["id"]), float(stored.get("influence", 0.0)), bool(stored.get("listed", False))
    )
