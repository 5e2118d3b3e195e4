"""Errors in the trailing metadata of a failed gRPC call: the gateway writes them, the client reads them.

The metadata hold the error twice: as `google.rpc.Status` with details, as clients of any language read it,
and as plain entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from creditline import errors

STATUS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"
ERROR_DOMAIN = "creditline"
ERROR_KEY = "creditline-error"
FIELD_KEY = "creditline-field"
SERVICE_KEY = "creditline-service"

# Errors of the API by their name in the metadata. `Unavailable` is recognised by its service instead.
ERRORS: Mapping[str, type[errors.CreditlineError]] = {
    kind.__name__: kind
    for kind in (
        errors.InvalidInput,
        errors.FailedPrecondition,
        errors.NotFound,
        errors.Conflict,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.FingerprintMismatch,
        errors.NotReady,
        errors.DeadlineExceeded,
        errors.ResourceExhausted,
        errors.RateExceeded,
        errors.QuotaExceeded,
        errors.RequestTooLarge,
        errors.ReceiveTimeout,
    )
}


def error_metadata(error: errors.CreditlineError) -> tuple[tuple[str, str], ...]:
    """Metadata with the error's class, field and service, where it has them; ASCII, as gRPC requires."""
    entries = {
        ERROR_KEY: type(error).__name__,
        FIELD_KEY: error.field,
        SERVICE_KEY: getattr(error, "service", None),
    }
    return tuple((key, value) for key, value in entries.items() if value)


def status_details(
    error: errors.CreditlineError, code: int, *, request_id: str, retry_after_seconds: float | None
) -> bytes:
    """The error as a serialized `google.rpc.Status`, the value of `STATUS_KEY`; see `status_message`."""
    return status_message(
        error, code, request_id=request_id, retry_after_seconds=retry_after_seconds
    ).SerializeToString()


def status_message(
    error: errors.CreditlineError, code: int, *, request_id: str, retry_after_seconds: float | None
) -> Status:
    """The error as a `google.rpc.Status`.

    Its details are an ErrorInfo (reason: the error's class, as in `NOT_FOUND`), a BadRequest where the
    request's field was invalid, a RetryInfo where a retry can help, and a RequestInfo.

    Args:
        error: The error.
        code: Number of its gRPC status.
        request_id: Id of the request, which the gateway's log shows too.
        retry_after_seconds: Time after which the caller may retry; None: a retry does not help.
    """
    status = Status(code=code, message=error.message)
    for detail in _details(error, request_id, retry_after_seconds):
        status.details.add().Pack(detail)
    return status


def _details(
    error: errors.CreditlineError, request_id: str, retry_after_seconds: float | None
) -> Iterator[Message]:
    named = {"field": error.field, "service": getattr(error, "service", None)}
    yield ErrorInfo(
        reason=_reason(type(error)),
        domain=ERROR_DOMAIN,
        metadata={key: value for key, value in named.items() if value},
    )
    if isinstance(error, errors.InvalidInput) and error.field:
        violation = BadRequest.FieldViolation(field=error.field, description=error.message)
        yield BadRequest(field_violations=[violation])
    if retry_after_seconds is not None:
        retry = RetryInfo()
        retry.retry_delay.FromNanoseconds(round(retry_after_seconds * 1e9))
        yield retry
    yield RequestInfo(request_id=request_id)


def _reason(kind: type[errors.CreditlineError]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).upper()


_BY_REASON = {_reason(kind): kind for kind in ERRORS.values()}


def read_retry_seconds(status_details: bytes) -> float | None:
    """The delay of the RetryInfo in a serialized `google.rpc.Status`; None where there is none."""
    try:
        status = Status.FromString(status_details)
    except DecodeError:
        return None
    retry = RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            return retry.retry_delay.ToNanoseconds() / 1e9
    return None


def read_status(status: Status) -> errors.CreditlineError:
    """Rebuild the error that `status_message` was given, such as that of one request of several."""
    info, retry = ErrorInfo(), RetryInfo()
    seconds = None
    for detail in status.details:
        if detail.Unpack(retry):
            seconds = retry.retry_delay.ToNanoseconds() / 1e9
        detail.Unpack(info)
    field, service = info.metadata.get("field") or None, info.metadata.get("service")
    if service:
        return errors.Unavailable(status.message, service=service, field=field, retry_after_seconds=seconds)
    kind = _BY_REASON.get(info.reason, errors.CreditlineError)
    return kind(status.message, field=field, retry_after_seconds=seconds)


def read_error(metadata: Mapping[str, str | bytes], message: str) -> errors.CreditlineError | None:
    """Rebuild the error that the gateway raised.

    Args:
        metadata: Trailing metadata of the failed call.
        message: Details of the call's status.

    Returns:
        The error; None when the metadata name no error of the API.
    """
    field, service, name = (_text(metadata.get(key)) for key in (FIELD_KEY, SERVICE_KEY, ERROR_KEY))
    details = metadata.get(STATUS_KEY)
    retry = read_retry_seconds(details) if isinstance(details, bytes) else None
    if service:
        return errors.Unavailable(message, service=service, field=field, retry_after_seconds=retry)
    kind = ERRORS.get(name or "")
    return None if kind is None else kind(message, field=field, retry_after_seconds=retry)


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
