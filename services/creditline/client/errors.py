"""Translation of failed gRPC calls to the CreditlineErrors that the gateway raised."""

from __future__ import annotations

import grpc

from creditline import errors
from creditline.api.error_metadata import read_error
from creditline.credentials.handshakes import handshake_problem

# For failures outside the gateway's own code.
_BY_STATUS: dict[grpc.StatusCode, type[errors.CreditlineError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
}
# A server of grpcio 1.85.1 answers CANCELLED to some calls that arrive during its shutdown. A call that its
# caller cancels is never looked at here.
_DOWN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def is_transient(failure: grpc.RpcError) -> bool:
    """Whether the same call can succeed later: the gateway does not answer, or states when to try again."""
    code = failure.code()
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        # Without that statement it is a limit of the request itself, such as its size.
        return _raised_by_gateway(failure).retry_after_seconds is not None
    return code in _DOWN


def translated(failure: grpc.RpcError, target: str) -> errors.CreditlineError:
    """The error of a failed call: of the class that the gateway raised, or Unavailable if it does not answer.

    Args:
        failure: The failed call.
        target: Address of the gateway, named in errors about an unreachable gateway.
    """
    known = _raised_by_gateway(failure)
    if type(known) is not errors.CreditlineError:
        return known
    kind = _BY_STATUS.get(failure.code())
    if kind is not None:
        return kind(known.message)
    return errors.Unavailable(_unavailable_message(failure.code(), known.message, target), service="gateway")


def _raised_by_gateway(failure: grpc.RpcError) -> errors.CreditlineError:
    """The error that the gateway raised; of no subclass where the failure does not come from its code."""
    message = failure.details() or failure.code().name
    known = read_error(dict(failure.trailing_metadata() or ()), message)
    return errors.CreditlineError(message) if known is None else known


def _unavailable_message(code: grpc.StatusCode, message: str, target: str) -> str:
    if code == grpc.StatusCode.UNAVAILABLE:
        if problem := handshake_problem(message):
            return (
                f"there is no TLS connection to the gateway at {target}: {problem}; correct the authorities"
                " that this client trusts, or the gateway's certificate"
            )
        return (
            f"the gateway does not answer at {target} ({message}); start it with `creditline local up`, or "
            "correct the target"
        )
    return f"the gateway at {target} failed with {code.name}: {message}"
