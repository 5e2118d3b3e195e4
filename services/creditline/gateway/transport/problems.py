"""The one table from our errors to gRPC statuses and HTTP problems (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from creditline import errors

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """How one class of errors is told to callers."""

    grpc_status: grpc.StatusCode
    http_status: int
    title: str


_INTERNAL = Problem(grpc.StatusCode.INTERNAL, 500, "The gateway failed")
_PROBLEMS: dict[type[errors.CreditlineError], Problem] = {
    errors.InvalidInput: Problem(grpc.StatusCode.INVALID_ARGUMENT, 400, "The request cannot be used"),
    errors.NotFound: Problem(grpc.StatusCode.NOT_FOUND, 404, "There is no such thing"),
    errors.Conflict: Problem(grpc.StatusCode.ALREADY_EXISTS, 409, "The request contradicts what is there"),
    errors.Unauthenticated: Problem(grpc.StatusCode.UNAUTHENTICATED, 401, "No valid API key"),
    errors.FingerprintMismatch: Problem(grpc.StatusCode.FAILED_PRECONDITION, 409, "Made from something else"),
    errors.NotReady: Problem(grpc.StatusCode.FAILED_PRECONDITION, 503, "Something must be made first"),
    errors.Unavailable: Problem(grpc.StatusCode.UNAVAILABLE, 503, "A service does not answer"),
    errors.DeadlineExceeded: Problem(grpc.StatusCode.DEADLINE_EXCEEDED, 504, "Out of time"),
    errors.ResourceExhausted: Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "Too much at once"),
}
INTERNAL_MESSAGE = "the gateway failed on this request; its log holds the reason"


def problem_of(error: errors.CreditlineError) -> Problem:
    """The row of the error's class, or of the nearest class above it."""
    return next((_PROBLEMS[kind] for kind in type(error).__mro__ if kind in _PROBLEMS), _INTERNAL)


def problem_body(error: errors.CreditlineError) -> dict[str, Any]:
    """The body of an HTTP problem: type, title, status, detail, and field and service where there are."""
    problem = problem_of(error)
    body = {
        "type": f"urn:creditline:error:{type(error).__name__}",
        "title": problem.title,
        "status": problem.http_status,
        "detail": error.message,
        "field": error.field,
        "service": getattr(error, "service", None),
    }
    return {key: value for key, value in body.items() if value is not None}
