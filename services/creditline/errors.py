"""Errors that Creditline raises on purpose: each message states the fault, the value and the remedy.

The gateway maps each class to a gRPC status and an HTTP problem in one table
(`creditline.gateway.transport.problems`).
"""

from __future__ import annotations


class CreditlineError(Exception):
    """Base class of all errors that Creditline raises on purpose.

    Attributes:
        message: The fault, the value and the remedy, in one sentence.
        field: Name of the part of the request or of the setting that was wrong; None where there is none.
        retry_after_seconds: Time after which the same request can succeed; None where that is unknown.
    """

    def __init__(
        self, message: str, *, field: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class InvalidInput(CreditlineError):
    """The input of the caller is invalid; sending it again will not help."""


class FailedPrecondition(InvalidInput):
    """The request is well formed, but what it names does not permit it; sending it again will not help."""


class NotFound(CreditlineError):
    """The object that the caller names does not exist."""


class Conflict(CreditlineError):
    """The request is well formed but contradicts the stored state (e.g. the same id with other content)."""


class Unauthenticated(CreditlineError):
    """The request has no API key, or an unknown one."""


class PermissionDenied(CreditlineError):
    """The API key is known, but does not permit the request."""


class FingerprintMismatch(CreditlineError):
    """An artifact was made from another generator, corpus or tower than the current one."""


class NotReady(CreditlineError):
    """A required artifact or state is missing; the message states how to make it."""


class Unavailable(CreditlineError):
    """A service that this one needs does not answer; the message states its address and what to start.

    Attributes:
        service: Name of the service that does not answer.
    """

    def __init__(
        self,
        message: str,
        *,
        service: str,
        field: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, field=field, retry_after_seconds=retry_after_seconds)
        self.service = service


class DeadlineExceeded(CreditlineError):
    """The deadline of the caller passed before the response was ready."""


class ResourceExhausted(CreditlineError):
    """The request exceeds a limit or the capacity that is free now."""


class RateExceeded(ResourceExhausted):
    """The requests of an API key come faster than its rate allows."""


class QuotaExceeded(ResourceExhausted):
    """The quota of an API key is used up."""


class RequestTooLarge(CreditlineError):
    """The request has more bytes than any request may have."""


class ReceiveTimeout(CreditlineError):
    """The caller did not send its request in time."""
