"""Translation of failed calls of the embedder: one error class and one sentence for each gRPC status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from creditline.credentials.handshakes import handshake_problem
from creditline.errors import (
    CreditlineError,
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    ResourceExhausted,
    Unavailable,
)


@contextmanager
def translate_errors(target: str) -> Iterator[None]:
    """Translate gRPC errors of the block to CreditlineErrors that name `target`, the embedder's address."""
    try:
        yield
    except grpc.RpcError as failure:
        raise embedder_failure(target, failure) from failure


def embedder_failure(target: str, failure: grpc.RpcError) -> CreditlineError:
    """The error that a failed call of the embedder at `target` (host:port) is translated to."""
    code, details = failure.code(), failure.details() or ""
    match code:
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(
                f"the embedder at {target} did not answer before the deadline; allow more time"
            )
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidInput(f"the embedder refused the picture or the prompt: {details}", field="image")
        case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.FAILED_PRECONDITION:
            return NotReady(f"the embedder at {target} is not ready for this release: {details}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return ResourceExhausted(f"the embedder at {target} is overloaded ({details}); retry later")
        case grpc.StatusCode.UNAVAILABLE:
            return no_tls_connection(target, details, service="embedder") or Unavailable(
                f"the embedder does not answer at {target}; start it with `creditline local up` or "
                "`python -m creditline.embedder`, or correct CREDITLINE_EMBEDDER_TARGET",
                service="embedder",
            )
    return Unavailable(
        f"the embedder at {target} failed with {code.name}: {details}; see its log", service="embedder"
    )


def no_tls_connection(target: str, details: str, *, service: str) -> Unavailable | None:
    """The error for a connection that failed at its TLS handshake; None where nothing points to TLS.

    Args:
        target: `host:port` of the service.
        details: Details of the failed call's status.
        service: Name of the service of the embedder's process, for the sentence.
    """
    problem = handshake_problem(details)
    if problem is None:
        return None
    return Unavailable(
        f"there is no TLS connection to the {service} at {target}: {problem}; correct"
        " CREDITLINE_EMBEDDER_TLS_CA here, or the embedder's certificate",
        service=service,
    )
