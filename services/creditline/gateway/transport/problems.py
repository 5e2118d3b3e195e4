"""Table of errors with their gRPC statuses and HTTP problems (RFC 9457).

A problem that no error of Creditline names (such as a route that does not exist) has the type `about:blank`.
"""

from __future__ import annotations

import http
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from creditline import errors

PROBLEM_TYPE = "application/problem+json"


class HeadTooLarge(errors.RequestTooLarge):
    """The head of an HTTP request is too large."""


@dataclass(frozen=True)
class Problem:
    """How callers see one class of errors."""

    grpc_status: grpc.StatusCode
    """Status of the gRPC call."""
    http_status: int
    """Status of the HTTP response."""
    title: str
    """Title of the HTTP problem."""
    retry_after_seconds: float | None = None
    """Time after which callers may retry, unless the error itself states one; None: a retry does not help."""


_INTERNAL = Problem(grpc.StatusCode.INTERNAL, 500, "Internal error")
_PROBLEMS: dict[type[errors.CreditlineError], Problem] = {
    errors.InvalidInput: Problem(grpc.StatusCode.INVALID_ARGUMENT, 400, "Invalid request"),
    errors.FailedPrecondition: Problem(grpc.StatusCode.FAILED_PRECONDITION, 409, "Failed precondition"),
    errors.NotFound: Problem(grpc.StatusCode.NOT_FOUND, 404, "Not found"),
    errors.Conflict: Problem(grpc.StatusCode.ALREADY_EXISTS, 409, "Conflict with existing state"),
    errors.Unauthenticated: Problem(grpc.StatusCode.UNAUTHENTICATED, 401, "No valid API key"),
    errors.PermissionDenied: Problem(grpc.StatusCode.PERMISSION_DENIED, 403, "Not permitted"),
    errors.FingerprintMismatch: Problem(grpc.StatusCode.FAILED_PRECONDITION, 409, "Fingerprint mismatch"),
    errors.NotReady: Problem(grpc.StatusCode.FAILED_PRECONDITION, 503, "Not ready", 5.0),
    errors.Unavailable: Problem(grpc.StatusCode.UNAVAILABLE, 503, "Service unavailable", 1.0),
    errors.DeadlineExceeded: Problem(grpc.StatusCode.DEADLINE_EXCEEDED, 504, "Deadline exceeded"),
    errors.ResourceExhausted: Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "Too many requests", 1.0),
    # When there is a time after which the request can succeed, these errors state it.
    errors.RateExceeded: Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "Rate exceeded"),
    errors.QuotaExceeded: Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "Quota exceeded"),
    errors.RequestTooLarge: Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, 413, "Request too large"),
    HeadTooLarge: Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, 431, "Request head too large"),
    errors.ReceiveTimeout: Problem(grpc.StatusCode.DEADLINE_EXCEEDED, 408, "Request timeout"),
}
_REFUSALS: dict[type[errors.CreditlineError], str] = {
    errors.Unauthenticated: "unauthenticated",
    errors.InvalidInput: "malformed",
    errors.NotFound: "not_found",
    errors.ResourceExhausted: "overloaded",
    errors.RateExceeded: "rate",
    errors.QuotaExceeded: "quota",
    HeadTooLarge: "headers",
    errors.RequestTooLarge: "too_large",
    errors.ReceiveTimeout: "timeout",
}
INTERNAL_MESSAGE = "the gateway failed on this request; see its log for the reason"


def problem_of(error: errors.CreditlineError) -> Problem:
    """The table's row for the error's class, or for its nearest base class."""
    return next((_PROBLEMS[kind] for kind in type(error).__mro__ if kind in _PROBLEMS), _INTERNAL)


def refusal_of(error: errors.CreditlineError) -> str:
    """The reason, one of `metrics.REFUSALS`, under which a refusal by this error is counted."""
    return next((_REFUSALS[kind] for kind in type(error).__mro__ if kind in _REFUSALS), "denied")


def retry_after_seconds(error: errors.CreditlineError) -> float | None:
    """Time after which the caller may retry; None where a retry does not help."""
    if error.retry_after_seconds is not None:
        return error.retry_after_seconds
    return problem_of(error).retry_after_seconds


def problem_body(error: errors.CreditlineError) -> dict[str, Any]:
    """The body of an HTTP problem: type, title, status, detail, and field and service where present."""
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


def plain_problem(status: int, detail: str) -> dict[str, Any]:
    """The body of an HTTP problem that only HTTP knows, such as a method that a route does not have."""
    return {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }


def problem_headers(error: errors.CreditlineError) -> Mapping[str, str]:
    """Headers of the HTTP response to an error: how to authenticate, and when to try again."""
    headers = {}
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="creditline"'
    if isinstance(error, errors.ReceiveTimeout):
        headers["Connection"] = "close"
    retry = retry_after_seconds(error)
    if retry is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry)))
    return headers
