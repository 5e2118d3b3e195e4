"""Translation of failed gRPC calls to the CreditlineErrors that the gateway raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from creditline import errors
from creditline.api.error_metadata import read_error

# For failures outside the gateway's own code.
_BY_STATUS: dict[grpc.StatusCode, type[errors.CreditlineError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
}


@contextmanager
def translate_errors(target: str) -> Iterator[None]:
    """Translate the error of a failed call inside the block.

    Args:
        target: Address of the gateway, named in errors about an unreachable gateway.

    Raises:
        CreditlineError: The class that the gateway raised, or Unavailable when it does not answer.
    """
    try:
        yield
    except grpc.RpcError as failure:
        raise _translated(failure, target) from failure


def _translated(failure: grpc.RpcError, target: str) -> errors.CreditlineError:
    message = failure.details() or failure.code().name
    known = read_error(dict(failure.trailing_metadata() or ()), message)
    if known is not None:
        return known
    kind = _BY_STATUS.get(failure.code())
    if kind is not None:
        return kind(message)
    return errors.Unavailable(_unavailable_message(failure.code(), message, target), service="gateway")


def _unavailable_message(code: grpc.StatusCode, message: str, target: str) -> str:
    if code == grpc.StatusCode.UNAVAILABLE:
        return (
            f"the gateway does not answer at {target} ({message}); start it with `creditline local up`, or "
            "correct the target"
        )
    return f"the gateway at {target} failed with {code.name}: {message}"
