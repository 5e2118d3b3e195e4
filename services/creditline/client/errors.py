"""Failed calls as the CreditlineErrors that the gateway raised, with the field that was wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from creditline import errors

_ERROR_KEY, _FIELD_KEY, _SERVICE_KEY = "creditline-error", "creditline-field", "creditline-service"
_BY_NAME: dict[str, type[errors.CreditlineError]] = {
    kind.__name__: kind
    for kind in (
        errors.InvalidInput,
        errors.NotFound,
        errors.Conflict,
        errors.Unauthenticated,
        errors.FingerprintMismatch,
        errors.NotReady,
        errors.DeadlineExceeded,
        errors.ResourceExhausted,
    )
}
# For failures that never reached the gateway's own code.
_BY_STATUS: dict[grpc.StatusCode, type[errors.CreditlineError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
}


@contextmanager
def raised_as_ours(target: str) -> Iterator[None]:
    """Turn a failed call inside the block into the error that it stands for."""
    try:
        yield
    except grpc.RpcError as failure:
        raise _error(failure, target) from failure


def _error(failure: grpc.RpcError, target: str) -> errors.CreditlineError:
    metadata = dict(failure.trailing_metadata() or ())
    field, service = metadata.get(_FIELD_KEY), metadata.get(_SERVICE_KEY)
    message = failure.details() or failure.code().name
    if service:
        return errors.Unavailable(message, service=service, field=field)
    kind = _BY_NAME.get(metadata.get(_ERROR_KEY, "")) or _BY_STATUS.get(failure.code())
    if kind is not None:
        return kind(message, field=field)
    return errors.Unavailable(_unanswered(failure.code(), message, target), service="gateway")


def _unanswered(code: grpc.StatusCode, message: str, target: str) -> str:
    if code == grpc.StatusCode.UNAVAILABLE:
        return (
            f"the gateway does not answer at {target} ({message}); start it with `creditline local up`, or "
            "correct the target"
        )
    return f"the gateway at {target} failed with {code.name}: {message}"
