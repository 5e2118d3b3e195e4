"""The gateway's copy in memory of the API keys in the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from creditline.errors import Unauthenticated, Unavailable
from creditline.gateway.access.caller import Caller
from creditline.ledger import Allowance, ApiKey, KeyRegistry, KeyState, Scope
from creditline.ledger.keys import id_in

# Without the ledger, keys are accepted from memory for this long: a revocation could not be noticed.
STALE_AFTER_SECONDS = 300.0


class LedgerKeys:
    """All keys of the ledger, followed by the versions of their changes.

    A request costs no query: of a key that the ledger does not hold, too. `refresh` and `record_uses` block.

    Args:
        registry: The keys in the ledger.
        clock: Returns the current time, with a time zone.
        monotonic: Returns seconds that never run backwards.
        rate: Rate of keys without one of their own, admin keys excepted; None: no limit.
        quota: Quota of keys without one of their own, admin keys excepted; None: no limit.
    """

    def __init__(
        self,
        registry: KeyRegistry,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        *,
        rate: Allowance | None = None,
        quota: Allowance | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._monotonic = monotonic
        self._default_rate = rate
        self._default_quota = quota
        self._keys: dict[str, ApiKey] = {}
        self._version = 0
        self._read = monotonic()
        self._uses: dict[str, datetime] = {}

    @property
    def any(self) -> bool:
        """Whether the ledger holds a key, valid or not."""
        return bool(self._keys)

    def may_be_new(self, text: str) -> bool:
        """Whether a text has the form of a key, but its id was not read from the ledger yet."""
        key_id = id_in(text)
        return key_id is not None and key_id not in self._keys

    def refresh(self) -> None:
        """Read the changes since the last call. Raises Unavailable when the ledger does not answer."""
        begun = self._monotonic()
        changed = self._registry.changed_after(self._version)
        # The dictionary is replaced, not changed: requests read it meanwhile.
        self._keys = {**self._keys, **{key.id: key for key in changed}}
        self._version = max([self._version, *(key.version for key in changed)])
        self._read = begun

    def caller_with(self, text: str) -> Caller | None:
        """The caller whose key a text is; None: the ledger does not hold it.

        Raises:
            Unauthenticated: The key is expired or revoked, which only its owner learns.
            Unavailable: The ledger was not read for so long that the key may have been revoked.
        """
        key = self._keys.get(id_in(text) or "")
        if key is None or not key.matches(text):
            return None
        now = self._clock()
        state = key.state(now)
        if state is not KeyState.VALID:
            raise _no_longer_valid(key, state)
        if self._monotonic() - self._read > STALE_AFTER_SECONDS:
            raise Unavailable(
                f"the ledger was not read for {STALE_AFTER_SECONDS:g} s, so that it is unknown whether this"
                " API key was revoked; try again later",
                service="ledger",
            )
        self._uses[key.id] = now
        if Scope.ADMIN in key.scopes:
            return Caller(key.id, key.owner, key.scopes, key.rate, key.quota)
        rate, quota = key.rate or self._default_rate, key.quota or self._default_quota
        return Caller(key.id, key.owner, key.scopes, rate, quota)

    def record_uses(self) -> None:
        """Write to the ledger when keys were last used, where they were since the last call."""
        uses, self._uses = self._uses, {}
        try:
            self._registry.record_uses(uses)
        except Unavailable:
            self._uses = {**uses, **self._uses}
            raise


def _no_longer_valid(key: ApiKey, state: KeyState) -> Unauthenticated:
    moment = key.revoked if state is KeyState.REVOKED else key.expires
    successor = f" or use key {key.replaced_by}, which replaced it" if key.replaced_by else ""
    return Unauthenticated(
        f"API key {key.id} is {state} since {moment:%Y-%m-%d %H:%M} UTC; ask the operator for a new"
        f" one{successor}",
        field="authorization",
    )
