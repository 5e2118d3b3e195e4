"""Errors in the trailing metadata of a failed call: written by the gateway, read by the client."""

from __future__ import annotations

from collections.abc import Mapping

from creditline import errors

ERROR_KEY = "creditline-error"
FIELD_KEY = "creditline-field"
SERVICE_KEY = "creditline-service"

# Errors of the contract by the name that the metadata carry. `Unavailable` is made from its service instead.
ERRORS: Mapping[str, type[errors.CreditlineError]] = {
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


def error_metadata(error: errors.CreditlineError) -> tuple[tuple[str, str], ...]:
    """The error's class, field and service, where it has them; ASCII, as gRPC requires."""
    entries = {
        ERROR_KEY: type(error).__name__,
        FIELD_KEY: error.field,
        SERVICE_KEY: getattr(error, "service", None),
    }
    return tuple((key, value) for key, value in entries.items() if value)


def read_error(metadata: Mapping[str, str], message: str) -> errors.CreditlineError | None:
    """The error that the metadata stand for; None where they name none of the contract."""
    field, service = metadata.get(FIELD_KEY), metadata.get(SERVICE_KEY)
    if service:
        return errors.Unavailable(message, service=service, field=field)
    kind = ERRORS.get(metadata.get(ERROR_KEY, ""))
    return None if kind is None else kind(message, field=field)
