"""The caller of a request, established before anything of the request's body is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from creditline.errors import PermissionDenied
from creditline.ledger import Allowance, Scope


@dataclass(frozen=True)
class Caller:
    """An authenticated caller."""

    name: str = ""
    """Id of the caller's API key, `environment` or `file`; empty where the gateway accepts all callers."""
    owner: str = ""
    """On whose behalf the caller acts; what is recorded for it carries this. Empty as for `name`."""
    scopes: frozenset[Scope] = frozenset()
    """What the caller may do."""
    rate: Allowance | None = None
    """Requests in a short time that its key may send; None: no limit."""
    quota: Allowance | None = None
    """Pictures in a long time that its key may have attributed; None: no limit."""

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything, for all owners."""
        return Scope.ADMIN in self.scopes

    def require(self, *scopes: Scope) -> None:
        """Check that the caller has one of some scopes, or is an admin.

        Raises:
            PermissionDenied: It has none of them.
        """
        if not self.is_admin and self.scopes.isdisjoint(scopes):
            needed = " or ".join(repr(str(scope)) for scope in scopes)
            raise PermissionDenied(
                f"API key {self.name!r} has not the scope {needed}; ask the operator for a key that has it",
                field="authorization",
            )

    @property
    def restricted_to(self) -> str | None:
        """Owner whose rows of the ledger the caller may see and change; None: all."""
        return None if self.is_admin else self.owner


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

    async def charge(self, caller: Caller, *, attributions: int) -> None:
        """Count a request against the rate and the quota of the caller's key.

        Args:
            caller: The caller, as `authenticate` returned it.
            attributions: Number of pictures to attribute; 0 for requests of other kinds, which the rate
                counts apart.

        Raises:
            RateExceeded: The rate does not allow it now; nothing is counted.
            QuotaExceeded: The quota does not allow it now; nothing is counted.
        """
        ...


NOBODY = Caller()
"""The caller outside requests: may do nothing."""
ANYONE = Caller(scopes=frozenset({Scope.ADMIN}))
"""Every caller of a gateway without keys."""
charge_attributions: ContextVar[Callable[..., Awaitable[None]]] = ContextVar("charge_attributions")
"""Charges the key of the request that is being answered for `attributions` more pictures; see
`Authenticator.charge`. Set by both faces."""
current_caller: ContextVar[Caller] = ContextVar("current_caller", default=NOBODY)
"""The caller of the request that is being answered; set by both faces before the use case runs."""
