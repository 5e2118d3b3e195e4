"""Errors in the trailing metadata of a failed gRPC call: the gateway writes them, the client reads them."""

from __future__ import annotations

from collections.abc import Mapping

from creditline import errors

ERROR_KEY = "creditline-error"
FIELD_KEY = "creditline-field"
SERVICE_KEY = "creditline-service"

# Errors of the API by their name in the metadata. `Unavailable` is recognised by its service instead.
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
    """Metadata with the error's class, field and service, where it has them; ASCII, as gRPC requires."""
    entries = {
        ERROR_KEY: type(error).__name__,
        FIELD_KEY: error.field,
        SERVICE_KEY: getattr(error, "service", None),
    }
    return tuple((key, value) for key, value in entries.items() if value)


def read_error(metadata: Mapping[str, str], message: str) -> errors.CreditlineError | None:
    """Rebuild the error that the gateway raised.

    Args:
        metadata: Trailing metadata of the failed call.
        message: Details of the call's status.

    Returns:
        The error; None when the metadata name no error of the API.
    """
    field, service = metadata.get(FIELD_KEY), metadata.get(SERVICE_KEY)
    if service:
        return errors.Unavailable(message, service=service, field=field)
    kind = ERRORS.get(metadata.get(ERROR_KEY, ""))
    return None if kind is None else kind(message, field=field)
