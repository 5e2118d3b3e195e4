"""The gRPC API: servicers that translate between messages and use cases, and their server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from creditline.api.answers import AttributionAnswer
from creditline.api.attributions import attribution_message, read_filter, read_form, recorded_message
from creditline.api.audits import audit_message
from creditline.api.contributors import merge_message, merge_status_message, read_person
from creditline.api.error_metadata import status_message
from creditline.api.pages import (
    attribution_page_message,
    audit_page_message,
    contributor_page_message,
    work_page_message,
)
from creditline.api.releases import release_response
from creditline.api.vectors import read_vector
from creditline.api.withdrawals import KIND_PREFIX, withdrawal_message, withdrawal_status_message
from creditline.api.works import work_message
from creditline.credentials.servers import grpc_server_credentials
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import CreditlineError, InvalidInput
from creditline.gateway.access.caller import Authenticator, charge_attributions, current_caller
from creditline.gateway.application import UseCases
from creditline.gateway.deadline import Deadline
from creditline.gateway.delivery import Delivery, current_delivery
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.pages import PageRequest
from creditline.gateway.transport.limits import MOST_REQUEST_BYTES, Limits
from creditline.gateway.transport.problems import problem_of, retry_after_seconds
from creditline.gateway.transport.request_ids import current_request_id
from creditline.gateway.transport.rpc_front import Front
from creditline.gateway.transport.rpc_health import SERVICES, FollowedHealth
from creditline.gateway.use_cases.calls.batch import MOST_UNANSWERED, Outcome, as_ready, batch, outcome
from creditline.gateway.use_cases.contributors import MergeRequest
from creditline.gateway.use_cases.requests import DEFAULT_K, AttributionRequest
from creditline.gateway.use_cases.withdrawals import MOST_LISTED, WithdrawalRequest
from creditline.ledger import Scope
from creditline.observability.tracing import grpc_server_interceptors
from creditline.v1 import (
    attribution_pb2,
    attribution_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    catalog_pb2,
    catalog_pb2_grpc,
    contributor_pb2,
    contributor_pb2_grpc,
    release_pb2,
    release_pb2_grpc,
    withdrawal_pb2,
    withdrawal_pb2_grpc,
)

_MOST_ANSWER_BYTES = 64 << 20
# Above the calls that the front answers at the same time: a caller beyond those gets its refusal, with the
# time to wait. Where the streams are full and some callers cancel, core resets others without a word of ours.
_MOST_STREAMS = 4 * Limits().requests
_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000
# Clients ping every 10 s at the most often; by default core ends connections that ping within 5 minutes.
_LEAST_PING_MS = 9_000
_OPTIONS = (
    ("grpc.max_receive_message_length", MOST_REQUEST_BYTES),
    ("grpc.max_send_message_length", _MOST_ANSWER_BYTES),
    # Of one connection.
    ("grpc.max_concurrent_streams", _MOST_STREAMS),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    # By this option grpc 1.85.1 waits for the answer to a ping, a minute by default; not by the one above.
    ("grpc.http2.ping_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_MS),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", _LEAST_PING_MS),
    # The probe would open each connection's window by what keyless callers send; a message that is being
    # received has a window of its own size anyway.
    ("grpc.http2.bdp_probe", 0),
    # Two gateways on one port would each get half of the calls.
    ("grpc.so_reuseport", 0),
)


class AttributionServicer(attribution_pb2_grpc.AttributionServicer):
    """`creditline.v1.Attribution`."""

    def __init__(self, use_cases: UseCases) -> None:
        self._use_cases = use_cases

    async def Attribute(  # noqa: N802
        self, request: attribution_pb2.AttributeRequest, context: Any
    ) -> attribution_pb2.AttributeResponse:
        """Attribute a picture within the caller's deadline, and never longer than the gateway's own limit."""
        return attribution_message(await self._answer(request, self._deadline(context)))

    async def BatchAttribute(  # noqa: N802
        self, request: attribution_pb2.BatchAttributeRequest, context: Any
    ) -> attribution_pb2.BatchAttributeResponse:
        """Attribute several pictures, each as if it was sent alone."""
        deadline = self._deadline(context)
        answers = [partial(self._answer, each, deadline) for each in request.requests]
        outcomes = await batch(current_caller.get(), answers, charge_attributions.get())
        results = (attribution_pb2.AttributeResult(**_result(each)) for each in outcomes)
        return attribution_pb2.BatchAttributeResponse(results=results)

    async def StreamAttribute(  # noqa: N802
        self, requests: AsyncIterator[attribution_pb2.StreamAttributeRequest], context: Any
    ) -> AsyncIterator[attribution_pb2.StreamAttributeResponse]:
        """Attribute pictures as they come."""
        current_caller.get().require(Scope.ATTRIBUTE)
        charge, whole, undelivered = charge_attributions.get(), current_delivery.get(), set[Delivery]()

        async def charged(asked: attribution_pb2.AttributeRequest) -> AttributionAnswer:
            await charge(attributions=1)
            return await self._answer(asked, self._deadline(context))

        async def answer(
            asked: attribution_pb2.StreamAttributeRequest,
        ) -> tuple[Delivery, attribution_pb2.StreamAttributeResponse]:
            delivery = whole.part()
            undelivered.add(delivery)
            current_delivery.set(delivery)
            found = await outcome(partial(charged, asked.request))
            return delivery, attribution_pb2.StreamAttributeResponse(id=asked.id, **_result(found))

        try:
            async for delivery, response in as_ready(requests, answer, MOST_UNANSWERED):
                yield response
                delivery.succeeded()
                undelivered.discard(delivery)
        finally:
            for delivery in undelivered:
                delivery.end()

    async def _answer(
        self, request: attribution_pb2.AttributeRequest, deadline: Deadline
    ) -> AttributionAnswer:
        asked = AttributionRequest(
            image=request.image,
            prompt=request.prompt,
            generator=request.generator,
            k=request.k if request.HasField("k") else DEFAULT_K,
            release=request.release,
            filter=read_filter(request.filter) if request.HasField("filter") else None,
            request_id=request.request_id,
            vector=read_vector(request.vector) if request.HasField("vector") else None,
            form=read_form(request.form),
        )
        return await self._use_cases.attribute(asked, deadline, current_caller.get())

    def _deadline(self, context: Any) -> Deadline:
        return self._use_cases.admission.deadline(context.time_remaining())

    async def ListAttributions(  # noqa: N802
        self, request: attribution_pb2.ListAttributionsRequest, context: Any
    ) -> attribution_pb2.ListAttributionsResponse:
        """List recorded attributions."""
        page = PageRequest(request.page_size, request.page_token)
        return attribution_page_message(await self._use_cases.attributions.listed(page, current_caller.get()))

    async def GetAttribution(  # noqa: N802
        self, request: attribution_pb2.GetAttributionRequest, context: Any
    ) -> attribution_pb2.GetAttributionResponse:
        """Return a recorded attribution with its picture."""
        attributions, caller = self._use_cases.attributions, current_caller.get()
        recorded = await attributions.get(request.id, caller)
        picture = b"" if recorded.answer.private else await attributions.picture(request.id, caller)
        return recorded_message(recorded, picture)


def _result(found: Outcome) -> dict[str, Any]:
    """What became of one of several requests, as the field that holds it."""
    if isinstance(found, CreditlineError):
        code, retry = problem_of(found).grpc_status.value[0], retry_after_seconds(found)
        request_id = current_request_id.get()
        return {"error": status_message(found, code, request_id=request_id, retry_after_seconds=retry)}
    return {"response": attribution_message(found)}


class CatalogServicer(catalog_pb2_grpc.CatalogServicer):
    """`creditline.v1.Catalog`."""

    def __init__(self, use_cases: UseCases) -> None:
        self._catalog = use_cases.catalog

    async def GetWork(  # noqa: N802
        self, request: catalog_pb2.GetWorkRequest, context: Any
    ) -> catalog_pb2.GetWorkResponse:
        """Return a work with its thumbnail."""
        work = await self._catalog.work(request.id)
        message = work_message(work, await self._catalog.picture_of(work))
        return catalog_pb2.GetWorkResponse(work=message)

    async def ListWorks(  # noqa: N802
        self, request: catalog_pb2.ListWorksRequest, context: Any
    ) -> catalog_pb2.ListWorksResponse:
        """List works."""
        page = PageRequest(request.page_size, request.page_token)
        return work_page_message(await self._catalog.listed(page))


class AuditsServicer(audit_pb2_grpc.AuditsServicer):
    """`creditline.v1.Audits`."""

    def __init__(self, use_cases: UseCases) -> None:
        self._audits = use_cases.audits

    async def SubmitAudit(  # noqa: N802
        self, request: audit_pb2.SubmitAuditRequest, context: Any
    ) -> audit_pb2.SubmitAuditResponse:
        """Queue an audit of an attribution."""
        audit = await self._audits.submit(request.attribution_id, current_caller.get())
        return audit_pb2.SubmitAuditResponse(audit=audit_message(audit))

    async def GetAudit(  # noqa: N802
        self, request: audit_pb2.GetAuditRequest, context: Any
    ) -> audit_pb2.GetAuditResponse:
        """Return the current state of an audit."""
        return audit_pb2.GetAuditResponse(
            audit=audit_message(await self._audits.get(request.id, current_caller.get()))
        )

    async def ListAudits(  # noqa: N802
        self, request: audit_pb2.ListAuditsRequest, context: Any
    ) -> audit_pb2.ListAuditsResponse:
        """List audits."""
        page = PageRequest(request.page_size, request.page_token)
        return audit_page_message(await self._audits.listed(page, current_caller.get()))


class ReleasesServicer(release_pb2_grpc.ReleasesServicer):
    """`creditline.v1.Releases`."""

    def __init__(self, use_cases: UseCases) -> None:
        self._releases = use_cases.releases

    async def GetRelease(  # noqa: N802
        self, request: release_pb2.GetReleaseRequest, context: Any
    ) -> release_pb2.GetReleaseResponse:
        """Return a release with its audited accuracy."""
        return release_response(await self._releases.answer(request.name))


class WithdrawalsServicer(withdrawal_pb2_grpc.WithdrawalsServicer):
    """`creditline.v1.Withdrawals`."""

    def __init__(self, use_cases: UseCases) -> None:
        self._withdrawals = use_cases.withdrawals

    async def Withdraw(  # noqa: N802
        self, request: withdrawal_pb2.WithdrawRequest, context: Any
    ) -> withdrawal_pb2.WithdrawResponse:
        """Withdraw a work or a contributor."""
        status = await self._withdrawals.withdraw(
            _withdrawal_request(request, allow_unknown=request.allow_unknown), current_caller.get()
        )
        return withdrawal_pb2.WithdrawResponse(status=withdrawal_status_message(status))

    async def Revoke(  # noqa: N802
        self, request: withdrawal_pb2.RevokeRequest, context: Any
    ) -> withdrawal_pb2.RevokeResponse:
        """Revoke a withdrawal."""
        status = await self._withdrawals.revoke(_withdrawal_request(request), current_caller.get())
        return withdrawal_pb2.RevokeResponse(status=withdrawal_status_message(status))

    async def ListWithdrawals(  # noqa: N802
        self, request: withdrawal_pb2.ListWithdrawalsRequest, context: Any
    ) -> withdrawal_pb2.ListWithdrawalsResponse:
        """List the withdrawals in force, or all requests."""
        limit = request.limit if request.HasField("limit") else MOST_LISTED
        listed = await self._withdrawals.listed(
            current_caller.get(), history=request.history, after=request.after, limit=limit
        )
        return withdrawal_pb2.ListWithdrawalsResponse(
            withdrawals=[withdrawal_message(withdrawal) for withdrawal in listed]
        )


def _withdrawal_request(
    request: withdrawal_pb2.WithdrawRequest | withdrawal_pb2.RevokeRequest, *, allow_unknown: bool = False
) -> WithdrawalRequest:
    # A kind that only newer clients know is a number without a name here.
    names = withdrawal_pb2.WithdrawalKind.DESCRIPTOR.values_by_number
    name = names[request.kind].name if request.kind in names else str(request.kind)
    return WithdrawalRequest(
        kind=name.removeprefix(KIND_PREFIX),
        subject=request.subject,
        reason=request.reason,
        requested_by=request.requested_by,
        allow_unknown=allow_unknown,
    )


class ContributorsServicer(contributor_pb2_grpc.ContributorsServicer):
    """`creditline.v1.Contributors`."""

    def __init__(self, use_cases: UseCases) -> None:
        self._contributors = use_cases.contributors

    async def Merge(  # noqa: N802
        self, request: contributor_pb2.MergeRequest, context: Any
    ) -> contributor_pb2.MergeResponse:
        """Merge two contributors."""
        status = await self._contributors.merge(
            _merge_request(request, allow_unknown=request.allow_unknown), current_caller.get()
        )
        return contributor_pb2.MergeResponse(status=merge_status_message(status))

    async def RevokeMerge(  # noqa: N802
        self, request: contributor_pb2.RevokeMergeRequest, context: Any
    ) -> contributor_pb2.RevokeMergeResponse:
        """Revoke a merge."""
        status = await self._contributors.revoke(_merge_request(request), current_caller.get())
        return contributor_pb2.RevokeMergeResponse(status=merge_status_message(status))

    async def ListMerges(  # noqa: N802
        self, request: contributor_pb2.ListMergesRequest, context: Any
    ) -> contributor_pb2.ListMergesResponse:
        """List the merges in force, or all records."""
        limit = request.limit if request.HasField("limit") else MOST_LISTED
        listed = await self._contributors.listed(
            current_caller.get(), history=request.history, after=request.after, limit=limit
        )
        return contributor_pb2.ListMergesResponse(merges=map(merge_message, listed))

    async def ListContributors(  # noqa: N802
        self, request: contributor_pb2.ListContributorsRequest, context: Any
    ) -> contributor_pb2.ListContributorsResponse:
        """List contributors."""
        page = PageRequest(request.page_size, request.page_token)
        return contributor_page_message(await self._contributors.people(page))


def _merge_request(
    request: contributor_pb2.MergeRequest | contributor_pb2.RevokeMergeRequest, *, allow_unknown: bool = False
) -> MergeRequest:
    return MergeRequest(
        person=read_person(request.person),
        other=read_person(request.other),
        reason=request.reason,
        requested_by=request.requested_by,
        allow_unknown=allow_unknown,
    )


class RpcServer:
    """The gRPC server with health and reflection; to be created on a running event loop.

    Args:
        use_cases: The use cases behind the calls.
        access: Establishes the caller of each call.
        metrics: Counts calls.
        limits: Limits of what callers can hold or delay.
    """

    def __init__(
        self, use_cases: UseCases, access: Authenticator, metrics: GatewayMetrics, limits: Limits
    ) -> None:
        front = Front(access, use_cases.admission, use_cases.marks, metrics, limits)
        self._server = grpc.aio.server(interceptors=(*grpc_server_interceptors(), front), options=_OPTIONS)
        servicer = health.aio.HealthServicer()
        self._health = FollowedHealth(servicer, use_cases.readiness)
        attribution_pb2_grpc.add_AttributionServicer_to_server(AttributionServicer(use_cases), self._server)
        catalog_pb2_grpc.add_CatalogServicer_to_server(CatalogServicer(use_cases), self._server)
        audit_pb2_grpc.add_AuditsServicer_to_server(AuditsServicer(use_cases), self._server)
        release_pb2_grpc.add_ReleasesServicer_to_server(ReleasesServicer(use_cases), self._server)
        withdrawal_pb2_grpc.add_WithdrawalsServicer_to_server(WithdrawalsServicer(use_cases), self._server)
        contributor_pb2_grpc.add_ContributorsServicer_to_server(ContributorsServicer(use_cases), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        reflection.enable_server_reflection(
            (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )

    async def start(self, host: str, port: int, tls: TlsFiles | None = None) -> int:
        """Start to listen, and return the port.

        Args:
            host: Address to listen on.
            port: Port; 0 picks a free one.
            tls: Files of TLS, followed while they change; None: no TLS.

        Raises:
            InvalidInput: The address cannot be bound.
            CreditlineError: The files cannot be used; see `TlsFiles.read`.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = grpc_server_credentials(tls) if tls else None
        try:
            bound = (
                self._server.add_secure_port(address, credentials)
                if credentials
                else self._server.add_insecure_port(address)
            )
        except RuntimeError as error:
            raise InvalidInput(
                f"the gateway cannot listen on {address}; another process may use it: set "
                "CREDITLINE_GATEWAY_GRPC_PORT to a free port",
                field="gateway_grpc_port",
            ) from error
        await self._server.start()
        await self._health.start()
        return int(bound)

    async def stop(self, grace_seconds: float) -> None:
        """Report NOT_SERVING, refuse new calls, and wait for running ones.

        Args:
            grace_seconds: Time that running calls have to finish.
        """
        await self._health.stop()
        await self._server.stop(grace_seconds)
