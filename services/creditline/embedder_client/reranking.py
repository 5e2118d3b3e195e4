"""The gateway's client of the reranker: scores of works for a picture and its prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from creditline.credentials.channels import FollowingStub
from creditline.credentials.tls_files import TlsFiles
from creditline.embedder_client.channel import channel_options
from creditline.embedder_client.failures import embedder_failure, no_tls_connection
from creditline.embedder_client.pixels import pixels_message
from creditline.errors import CreditlineError, InvalidInput, NotReady, ResourceExhausted, Unavailable
from creditline.pictures.pixels import RgbPixels
from creditline.v1 import reranker_pb2 as proto
from creditline.v1.reranker_pb2_grpc import RerankerStub

SERVICE = "reranker"
"""Name of the service, in errors and metrics."""
_SERVICE = "creditline.v1.Reranker"


@dataclass(frozen=True)
class RerankedRelease:
    """What a reranker must have loaded."""

    name: str
    """Name of the release."""
    rows: str
    """SHA-256 of its file of gradient rows."""


class RerankerClient:
    """Asyncio client of all replicas of the reranker, over one channel.

    Args:
        target: `host:port`, or `dns:///host:port`; calls are spread over all addresses of the host.
        tls: Files of this end, followed while they change; None: no TLS.

    Raises:
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """

    def __init__(self, target: str, tls: TlsFiles | None = None) -> None:
        self.target = target
        self._reranker = FollowingStub(RerankerStub, target, tls, channel_options())
        self._health = FollowingStub(health_pb2_grpc.HealthStub, target, tls, channel_options())

    async def close(self) -> None:
        """Close the channels."""
        await self._reranker.close()
        await self._health.close()

    async def scores(
        self,
        picture: RgbPixels,
        prompt: str,
        work_ids: Sequence[str],
        *,
        release: RerankedRelease,
        deadline_seconds: float,
    ) -> dict[str, float]:
        """Score works for a query.

        Args:
            picture: The decoded picture.
            prompt: The prompt that the picture was made from.
            work_ids: Ids of the works, 1 to 1,000.
            release: What the reranker must have loaded.
            deadline_seconds: Time that the call may take.

        Returns:
            Scores by work id, of the works that have a gradient row.

        Raises:
            NotReady: The reranker has another release or other rows, or does not re-rank.
            InvalidInput: The query has no gradient that could order works.
            ResourceExhausted: Too many queries wait.
            Unavailable: The reranker does not answer, or failed.
            DeadlineExceeded: The reranker did not answer in time.
        """
        request = proto.RerankRequest(
            pixels=pixels_message(picture), prompt=prompt, release=release.name, work_ids=work_ids
        )
        try:
            response = await self._reranker.stub.Rerank(request, timeout=deadline_seconds)
        except grpc.RpcError as failure:
            raise reranker_failure(self.target, failure) from failure
        self._check(response, release)
        return {work.id: work.score for work in response.works}

    async def check(self, *, deadline_seconds: float = 2.0) -> None:
        """Check that the reranker is reachable and re-ranks, by the standard health check.

        Raises:
            NotReady: It does not re-rank.
            Unavailable: It does not answer, or failed.
            DeadlineExceeded: It did not answer in time.
        """
        request = health_pb2.HealthCheckRequest(service=_SERVICE)
        try:
            answer = await self._health.stub.Check(request, timeout=deadline_seconds)
        except grpc.RpcError as failure:
            if failure.code() is grpc.StatusCode.NOT_FOUND:
                raise _does_not_rerank(self.target) from failure
            raise reranker_failure(self.target, failure) from failure
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable(f"the reranker at {self.target} is stopping", service=SERVICE)

    def _check(self, response: proto.RerankResponse, release: RerankedRelease) -> None:
        if (response.release, response.rows) != (release.name, release.rows):
            raise NotReady(
                f"the reranker at {self.target} has release {response.release!r} with gradient rows"
                f" {response.rows[:16]}… loaded, the gateway {release.name!r} with {release.rows[:16]}…;"
                " start both with the same CREDITLINE_RELEASE_DIRECTORY",
                field="release",
            )
        if not all(math.isfinite(work.score) for work in response.works):
            raise NotReady(
                f"the reranker at {self.target} returned a score that is not finite; see its log",
                field="release",
            )


def reranker_failure(target: str, failure: grpc.RpcError) -> CreditlineError:
    """The error that a failed call of the reranker at `target` (host:port) is translated to."""
    code, details = failure.code(), failure.details() or ""
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidInput(f"the picture cannot be re-ranked: {details}", field="image")
        case grpc.StatusCode.UNIMPLEMENTED:
            return _does_not_rerank(target)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return ResourceExhausted(
                f"the reranker at {target} is busy ({details}); retry later, or ask for a fast answer"
            )
        case grpc.StatusCode.UNAVAILABLE:
            return no_tls_connection(target, details, service=SERVICE) or Unavailable(
                f"the reranker does not answer at {target}; start an embedder with"
                " CREDITLINE_EMBEDDER_RERANKS=true there, or correct CREDITLINE_RERANKER_TARGET",
                service=SERVICE,
            )
    found = embedder_failure(target, failure)
    if isinstance(found, Unavailable):
        return Unavailable(
            f"the reranker at {target} failed with {code.name}: {details}; see its log", service=SERVICE
        )
    return found


def _does_not_rerank(target: str) -> NotReady:
    return NotReady(
        f"the embedder at {target} does not re-rank; start it with CREDITLINE_EMBEDDER_RERANKS=true, or set"
        " CREDITLINE_RERANKER_TARGET to one that does",
        field="form",
    )
