"""The API key in a request's `authorization` entries."""

from __future__ import annotations

from collections.abc import Sequence

from creditline.errors import Unauthenticated

_SCHEME = "bearer "


def bearer_token(authorization: Sequence[str]) -> str:
    """The token of the only `authorization` value.

    Raises:
        Unauthenticated: There is no value or more than one, or it is no bearer token.
    """
    if len(authorization) > 1:
        raise Unauthenticated(
            f"the request has {len(authorization)} 'authorization' entries; send one", field="authorization"
        )
    value = authorization[0] if authorization else ""
    if not value:
        raise Unauthenticated(
            "no API key; send the header or metadata 'authorization: Bearer KEY'", field="authorization"
        )
    if not value.lower().startswith(_SCHEME):
        raise unknown_key()
    return value[len(_SCHEME) :].strip()


def unknown_key() -> Unauthenticated:
    """The error for a key that is not accepted, whatever the reason: it reveals nothing about other keys."""
    return Unauthenticated(
        "this API key is not known; send 'authorization: Bearer KEY' with a key from the operator",
        field="authorization",
    )
