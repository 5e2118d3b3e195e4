"""The errors that Creditline raises on purpose: each says what was wrong, with which value, and what to do.

The gateway maps each class to a gRPC status and an HTTP problem in one table
(`creditline.gateway.transport.problems`).
"""

from __future__ import annotations


class CreditlineError(Exception):
    """Base of all errors raised on purpose.

    `field` names the part of the request or setting that was wrong, where there is one.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInput(CreditlineError):
    """The caller sent something that cannot be used; sending it again will not help."""


class NotFound(CreditlineError):
    """The thing named by the caller does not exist."""


class Conflict(CreditlineError):
    """The request is well formed but contradicts what is there (e.g. the same id with another content)."""


class Unauthenticated(CreditlineError):
    """No key, or a key that is not known."""


class FingerprintMismatch(CreditlineError):
    """An artifact was made from another generator, corpus or tower than the one at hand."""


class NotReady(CreditlineError):
    """An artifact or a state that is needed first is missing; the message says how to make it."""


class Unavailable(CreditlineError):
    """A service that this one needs does not answer; the message says which, where, and what to start."""

    def __init__(self, message: str, *, service: str, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.service = service


class DeadlineExceeded(CreditlineError):
    """The caller's deadline passed before the answer was ready."""


class ResourceExhausted(CreditlineError):
    """More was asked for than is allowed or than there is room for now."""
