"""`AsyncCreditlineClient`: the gateway's gRPC API in Python, for asyncio.

Example:
    async with AsyncCreditlineClient("127.0.0.1:7100") as client:
        answer = await client.attribute(picture, prompt="a red ladybug", generator=fingerprint)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from creditline.api.answers import (
    AnswerForm,
    AttributionAnswer,
    AuditAnswer,
    MergeAnswer,
    MergeStatus,
    Person,
    RecordedAttribution,
    ReleaseAnswer,
    WithdrawalAnswer,
    WithdrawalStatus,
    WorkAnswer,
    WorkFilter,
)
from creditline.api.pages import AttributionSummary, Contributor
from creditline.client import calls
from creditline.client.audits import AUDIT_SECONDS, FINAL_STATES, POLL_SECONDS, audit_is_late
from creditline.client.calls import CONTRIBUTOR, CONTRIBUTOR_ID, WORK, AttributionQuery, Picture
from creditline.client.concurrent import AsyncGateway
from creditline.client.options import RETRIES, STREAM_SECONDS, CallOptions
from creditline.client.private import EmbedsQueries, PrivateMode
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import CreditlineError
from creditline.retries import RetryPolicy


class AsyncCreditlineClient:
    """A connection to the gateway, for the event loop that it is made on.

    Its calls, and their errors, are those of `CreditlineClient`.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        tls: TlsFiles | None = None,
        timeout_seconds: float = 10.0,
        retries: RetryPolicy = RETRIES,
        hedge_after_seconds: float | None = None,
        keepalive_seconds: float = 30.0,
        encoder: EmbedsQueries | Path | None = None,
    ) -> None:
        """Arguments and errors are those of `CreditlineClient`."""
        options = CallOptions(timeout_seconds, retries, hedge_after_seconds, keepalive_seconds)
        self._gateway = AsyncGateway(target, options, api_key, tls)
        self._private = PrivateMode(encoder)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._gateway.close()

    async def attribute(
        self,
        image: Picture,
        *,
        prompt: str,
        generator: str = "",
        k: int = 10,
        release: str = "",
        filter: WorkFilter | None = None,
        private: bool = False,
        request_id: str | None = None,
        form: AnswerForm | str = AnswerForm.FAST,
        timeout_seconds: float | None = None,
    ) -> AttributionAnswer:
        """As `CreditlineClient.attribute`."""
        query = AttributionQuery(image, prompt, generator, k, release, filter, private, request_id, form)
        request = await asyncio.to_thread(self._private.message, query)
        return await self._gateway.call(calls.attribute(request, timeout_seconds))

    async def attribute_batch(
        self, queries: Sequence[AttributionQuery], *, timeout_seconds: float | None = None
    ) -> list[AttributionAnswer | CreditlineError]:
        """As `CreditlineClient.attribute_batch`."""
        requests = [await asyncio.to_thread(self._private.message, query) for query in queries]
        return await self._gateway.call(calls.attribute_batch(requests, timeout_seconds))

    async def attribute_stream(
        self,
        queries: Iterable[AttributionQuery] | AsyncIterable[AttributionQuery],
        *,
        timeout_seconds: float = STREAM_SECONDS,
    ) -> AsyncIterator[tuple[int, AttributionAnswer | CreditlineError]]:
        """As `CreditlineClient.attribute_stream`; the event loop takes the queries."""

        async def requests() -> AsyncIterator[Any]:
            number = 0
            async for query in _as_they_come(queries):
                yield calls.numbered(number, await asyncio.to_thread(self._private.message, query))
                number += 1

        async for answer in self._gateway.streamed(calls.attribute_stream(timeout_seconds), requests()):
            yield answer

    def attributions(self) -> AsyncIterator[AttributionSummary]:
        """As `CreditlineClient.attributions`."""
        return self._gateway.listed(calls.attributions())

    async def attribution(self, attribution_id: str) -> RecordedAttribution:
        """As `CreditlineClient.attribution`."""
        return await self._gateway.call(calls.attribution(attribution_id))

    async def attributed_picture(self, attribution_id: str) -> bytes:
        """As `CreditlineClient.attributed_picture`."""
        return await self._gateway.call(calls.attributed_picture(attribution_id))

    async def work(self, work_id: str) -> WorkAnswer:
        """As `CreditlineClient.work`."""
        return await self._gateway.call(calls.work(work_id))

    def works(self) -> AsyncIterator[WorkAnswer]:
        """As `CreditlineClient.works`."""
        return self._gateway.listed(calls.works())

    async def thumbnail(self, work_id: str) -> bytes:
        """As `CreditlineClient.thumbnail`."""
        return await self._gateway.call(calls.thumbnail(work_id))

    async def withdraw_work(
        self, work_id: str, *, reason: str = "", requested_by: str = "", allow_unknown: bool = False
    ) -> WithdrawalStatus:
        """As `CreditlineClient.withdraw_work`."""
        return await self._gateway.call(calls.withdraw(WORK, work_id, reason, requested_by, allow_unknown))

    async def withdraw_contributor(
        self, name: str, *, reason: str = "", requested_by: str = "", allow_unknown: bool = False
    ) -> WithdrawalStatus:
        """As `CreditlineClient.withdraw_contributor`."""
        return await self._gateway.call(
            calls.withdraw(CONTRIBUTOR, name, reason, requested_by, allow_unknown)
        )

    async def withdraw_contributor_id(
        self, contributor_id: str, *, reason: str = "", requested_by: str = "", allow_unknown: bool = False
    ) -> WithdrawalStatus:
        """As `CreditlineClient.withdraw_contributor_id`."""
        return await self._gateway.call(
            calls.withdraw(CONTRIBUTOR_ID, contributor_id, reason, requested_by, allow_unknown)
        )

    async def revoke_work(
        self, work_id: str, *, reason: str = "", requested_by: str = ""
    ) -> WithdrawalStatus:
        """As `CreditlineClient.revoke_work`."""
        return await self._gateway.call(calls.revoke(WORK, work_id, reason, requested_by))

    async def revoke_contributor(
        self, name: str, *, reason: str = "", requested_by: str = ""
    ) -> WithdrawalStatus:
        """As `CreditlineClient.revoke_contributor`."""
        return await self._gateway.call(calls.revoke(CONTRIBUTOR, name, reason, requested_by))

    async def revoke_contributor_id(
        self, contributor_id: str, *, reason: str = "", requested_by: str = ""
    ) -> WithdrawalStatus:
        """As `CreditlineClient.revoke_contributor_id`."""
        return await self._gateway.call(calls.revoke(CONTRIBUTOR_ID, contributor_id, reason, requested_by))

    def withdrawals(self, *, history: bool = False) -> AsyncIterator[WithdrawalAnswer]:
        """As `CreditlineClient.withdrawals`."""
        return self._gateway.listed(calls.withdrawals(history))

    def contributors(self) -> AsyncIterator[Contributor]:
        """As `CreditlineClient.contributors`."""
        return self._gateway.listed(calls.contributors())

    async def merge_contributors(
        self,
        person: Person,
        other: Person,
        *,
        reason: str = "",
        requested_by: str = "",
        allow_unknown: bool = False,
    ) -> MergeStatus:
        """As `CreditlineClient.merge_contributors`."""
        return await self._gateway.call(calls.merge(person, other, reason, requested_by, allow_unknown))

    async def revoke_merge(
        self, person: Person, other: Person, *, reason: str = "", requested_by: str = ""
    ) -> MergeStatus:
        """As `CreditlineClient.revoke_merge`."""
        return await self._gateway.call(calls.revoke_merge(person, other, reason, requested_by))

    def merges(self, *, history: bool = False) -> AsyncIterator[MergeAnswer]:
        """As `CreditlineClient.merges`."""
        return self._gateway.listed(calls.merges(history))

    async def release(self, name: str = "") -> ReleaseAnswer:
        """As `CreditlineClient.release`."""
        return await self._gateway.call(calls.release(name))

    async def submit_audit(self, attribution_id: str) -> AuditAnswer:
        """As `CreditlineClient.submit_audit`."""
        return await self._gateway.call(calls.submit_audit(attribution_id))

    async def audit(self, audit_id: str) -> AuditAnswer:
        """As `CreditlineClient.audit`."""
        return await self._gateway.call(calls.audit(audit_id))

    def audits(self) -> AsyncIterator[AuditAnswer]:
        """As `CreditlineClient.audits`."""
        return self._gateway.listed(calls.audits())

    async def wait_for_audit(
        self, audit_id: str, *, timeout_seconds: float = AUDIT_SECONDS, poll_seconds: float = POLL_SECONDS
    ) -> AuditAnswer:
        """As `CreditlineClient.wait_for_audit`."""
        async for _ in RetryPolicy.polling(poll_seconds, for_seconds=timeout_seconds).attempts_async():
            audit = await self.audit(audit_id)
            if audit.state in FINAL_STATES:
                return audit
        raise audit_is_late(audit, timeout_seconds)


async def _as_they_come(
    queries: Iterable[AttributionQuery] | AsyncIterable[AttributionQuery],
) -> AsyncIterator[AttributionQuery]:
    if isinstance(queries, AsyncIterable):
        async for query in queries:
            yield query
    else:
        for query in queries:
            yield query
