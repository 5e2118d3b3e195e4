"""Translation of Qdrant's gRPC errors into Creditline's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from creditline.credentials.handshakes import handshake_problem
from creditline.errors import (
    Conflict,
    CreditlineError,
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    ResourceExhausted,
    Unavailable,
)


@dataclass(frozen=True)
class QdrantAddress:
    """Address of Qdrant's gRPC port."""

    host: str
    """Host name or IP address."""
    grpc_port: int
    """Port of the gRPC API."""

    def __str__(self) -> str:
        return f"{self.host}:{self.grpc_port}"


@contextmanager
def translate_errors(address: QdrantAddress, collection: str) -> Iterator[None]:
    """Raise gRPC errors inside the block as CreditlineErrors that name the cause and the remedy."""
    try:
        yield
    except grpc.RpcError as failure:
        raise translated_error(failure.code(), failure.details() or "", address, collection) from failure


def translated_error(
    code: grpc.StatusCode, details: str, address: QdrantAddress, collection: str
) -> CreditlineError:
    """The CreditlineError for a gRPC status of Qdrant."""
    if code == grpc.StatusCode.UNAVAILABLE and (problem := handshake_problem(details)):
        return Unavailable(
            f"there is no TLS connection to Qdrant at {address}: {problem}; correct"
            " CREDITLINE_QDRANT_TLS_CA, or Qdrant's certificate",
            service="qdrant",
        )
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return Unavailable(
            f"Qdrant at {address} does not accept the API key ({details}); correct CREDITLINE_QDRANT_API_KEY"
            " or CREDITLINE_QDRANT_API_KEY_FILE",
            service="qdrant",
        )
    if code == grpc.StatusCode.UNAVAILABLE:
        return Unavailable(
            f"Qdrant does not answer at {address}; start it with `creditline local up`, or check the "
            "Qdrant deployment and CREDITLINE_QDRANT_HOST and CREDITLINE_QDRANT_GRPC_PORT",
            service="qdrant",
        )
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            f"Qdrant at {address} did not answer before the deadline; allow more time or ask for fewer works"
        )
    if code == grpc.StatusCode.NOT_FOUND:
        return NotReady(
            f"Qdrant at {address} has no collection {collection!r}; fill it with `creditline index load`",
            field="collection",
        )
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidInput(f"Qdrant refused the request for {collection!r}: {details}")
    if code == grpc.StatusCode.ALREADY_EXISTS:
        return Conflict(
            f"{collection!r} is already there: Qdrant at {address} has a collection or an alias of that name;"
            " use another name or drop that one",
            field="collection",
        )
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ResourceExhausted(f"Qdrant at {address} is overloaded ({details}); retry later")
    return Unavailable(
        f"Qdrant at {address} failed on {collection!r} with {code.name}: {details}; see its log",
        service="qdrant",
    )
