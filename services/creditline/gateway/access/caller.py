"""The caller of a request, established before anything of the request's body is read."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Caller:
    """An authenticated caller."""

    name: str = ""
    """Name of the caller's API key; empty where the gateway accepts all callers."""


class Authenticator(Protocol):
    """Establishes who calls; both faces, gRPC and HTTP, know no more of access than this."""

    async def authenticate(self, authorization: Sequence[str], *, address: str) -> Caller:
        """Establish who calls.

        Args:
            authorization: Values of all `authorization` headers or metadata of the request, in order.
            address: Network address of the caller, for limits on failed attempts; empty where unknown.

        Raises:
            Unauthenticated: There is not exactly one value, or it is no accepted API key.
            CreditlineError: The key cannot be checked, or is not accepted now.
        """
        ...


ANONYMOUS = Caller()
"""The caller where the gateway accepts all callers, and outside requests."""
current_caller: ContextVar[Caller] = ContextVar("current_caller", default=ANONYMOUS)
"""The caller of the request that is being answered; set by both faces before the use case runs."""
