"""Check of API keys."""

from __future__ import annotations

import hmac
from collections.abc import Collection

from creditline.errors import Unauthenticated

_SCHEME = "bearer "


class ApiKeys:
    """The accepted API keys.

    Args:
        keys: The keys; empty: all callers are accepted.
    """

    def __init__(self, keys: Collection[str]) -> None:
        self._keys = tuple(key.encode() for key in keys)

    def check(self, authorization: str | None) -> None:
        """Check the value of a caller's `authorization` header or metadata.

        Raises:
            Unauthenticated: The value is missing, is no bearer token, or is not an accepted key.
        """
        if not self._keys:
            return
        if not authorization:
            raise Unauthenticated(
                "no API key; send the header or metadata 'authorization: Bearer KEY'", field="authorization"
            )
        if not authorization.lower().startswith(_SCHEME) or not self._knows(authorization[len(_SCHEME) :]):
            raise Unauthenticated(
                "this API key is not known; send 'authorization: Bearer KEY' with a key from the operator",
                field="authorization",
            )

    def _knows(self, key: str) -> bool:
        given = key.strip().encode(errors="surrogateescape")
        # Every key is compared, each in constant time, so that timing reveals nothing.
        return sum(hmac.compare_digest(given, known) for known in self._keys) > 0
