"""Check of API keys."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence

from creditline.errors import Unauthenticated
from creditline.gateway.access.caller import ANONYMOUS, Caller

_SCHEME = "bearer "


class ApiKeys:
    """The accepted API keys: an `Authenticator`.

    Args:
        keys: The keys; empty: all callers are accepted.
    """

    def __init__(self, keys: Collection[str]) -> None:
        self._keys = tuple(key.encode() for key in keys)

    async def authenticate(self, authorization: Sequence[str], *, address: str) -> Caller:
        """Check the values of a caller's `authorization` headers or metadata.

        Args:
            authorization: All values that the request carries.
            address: Not used.

        Raises:
            Unauthenticated: There is no value or more than one, it is no bearer token, or it is not an
                accepted key.
        """
        if self._keys:
            self._check(bearer_token(authorization))
        return ANONYMOUS

    def _check(self, key: str) -> None:
        given = key.encode(errors="surrogateescape")
        # Every key is compared, each in constant time, so that timing reveals nothing.
        if not sum(hmac.compare_digest(given, known) for known in self._keys):
            raise unknown_key()


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
