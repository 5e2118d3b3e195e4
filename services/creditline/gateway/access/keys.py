"""The accepted API keys, from the environment, a file and the ledger: who calls, and what they may do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from creditline.errors import CreditlineError, ResourceExhausted
from creditline.gateway.access.bearer import bearer_token, unknown_key
from creditline.gateway.access.caller import ANYONE, Caller
from creditline.gateway.access.failed_logins import FailedLogins
from creditline.gateway.access.key_limits import KeyLimits
from creditline.gateway.access.ledger_keys import LedgerKeys
from creditline.gateway.access.static_keys import StaticKeys

# Changes of keys take effect within this time, and the duration of one query.
FOLLOW_SECONDS = 1.0
# The ledger is written at most so often, to show when keys were last used.
_USES_SECONDS = 60.0
# A key that is not known yet may have been made a moment ago; callers with forged keys share these reads.
_UNKNOWN_SECONDS = 0.2
_log = logging.getLogger(__name__)


class ApiKeys:
    """The accepted API keys: an `Authenticator` that answers from memory, and a task that follows changes.

    Without any key in the environment, a file or the ledger, all callers are accepted, unless keys are
    required. The first key in the ledger ends that within seconds, and revoking it does not bring it back.

    Args:
        static: Keys of the environment and of a file.
        ledger: Keys of the ledger.
        required: Refuse callers without a key even while there are no keys.
        on_use: Called with the name of each key that is used.
        failed_logins: Limit on wrong keys per network address.
        limits: Counts requests against rates and quotas; None: they are not enforced.
    """

    def __init__(
        self,
        static: StaticKeys,
        ledger: LedgerKeys,
        *,
        required: bool = False,
        on_use: Callable[[str], None] = lambda key: None,
        failed_logins: FailedLogins | None = None,
        limits: KeyLimits | None = None,
    ) -> None:
        self._limits = limits
        self._failed_logins = failed_logins or FailedLogins()
        self._on_use = on_use
        self._static = static
        self._ledger = ledger
        self._required = required or static.configured
        self._refreshing = asyncio.Lock()
        self._refreshed = time.monotonic()
        self._uses_due = time.monotonic() + _USES_SECONDS
        self._problem = ""

    async def authenticate(self, authorization: Sequence[str], *, address: str) -> Caller:
        """Establish who calls, from the values of all `authorization` headers or metadata.

        Args:
            authorization: All values that the request carries.
            address: Network address of the caller, whose wrong keys are limited.

        Raises:
            Unauthenticated: There is no value or more than one, it is no bearer token, or it is not an
                accepted key.
            ResourceExhausted: The address sent too many wrong keys. A valid key of the ledger is accepted
                even so, since it cannot be guessed; one of the environment or of the file is not looked at.
            Unavailable: The ledger was not read for so long that the key may have been revoked.
        """
        if not self._required and not self._ledger.any:
            return ANYONE
        key = bearer_token(authorization)
        caller = await self._ledger_caller(key) or self._guessable_caller(key, address)
        self._on_use(caller.name)
        return caller

    async def charge(self, caller: Caller, *, attributions: int) -> None:
        """Count a request against the rate and the quota of the caller's key.

        Args:
            caller: The caller, as `authenticate` returned it.
            attributions: Number of pictures to attribute; 0 for requests of other kinds.

        Raises:
            RateExceeded: The rate does not allow it now; nothing is counted.
            QuotaExceeded: The quota does not allow it now; nothing is counted.
        """
        if self._limits is not None:
            await self._limits.charge(caller, attributions=attributions)

    async def _ledger_caller(self, key: str) -> Caller | None:
        if self._ledger.may_be_new(key):
            await self._refresh_for_unknown()
        return self._ledger.caller_with(key)

    def _guessable_caller(self, key: str, address: str) -> Caller:
        """The caller with a key that an operator chose, as long as the address does not guess."""
        wait = self._failed_logins.wait_seconds(address)
        if wait > 0.0:
            raise ResourceExhausted(
                "too many wrong API keys came from this address; correct the key, and send it later",
                field="authorization",
                retry_after_seconds=wait,
            )
        caller = self._static.caller_with(key)
        if caller is None:
            self._failed_logins.count(address)
            raise unknown_key()
        return caller

    async def run(self) -> None:
        """Follow the file and the ledger until the task is cancelled, and record uses."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await self._refresh()
                if time.monotonic() >= self._uses_due:
                    self._uses_due = time.monotonic() + _USES_SECONDS
                    await asyncio.to_thread(self._ledger.record_uses)
            except CreditlineError as error:
                self._warn_once(error.message)
            except Exception:
                _log.exception("unhandled error while reading the API keys; it is retried")
            else:
                self._problem = ""

    def load(self) -> None:
        """Read all keys of the ledger. Blocks. Raises Unavailable when the ledger does not answer."""
        self._ledger.refresh()

    def record_uses(self) -> None:
        """Write the last uses before a stop; they are lost when the ledger does not answer. Blocks."""
        try:
            self._ledger.record_uses()
        except CreditlineError as error:
            _log.warning("the last uses of API keys are not recorded: %s", error.message)

    async def _refresh(self) -> None:
        async with self._refreshing:
            await asyncio.to_thread(self._static.refresh)
            await asyncio.to_thread(self._ledger.refresh)
            self._refreshed = time.monotonic()

    async def _refresh_for_unknown(self) -> None:
        """Read changes, unless that was done a moment ago; a failure leaves the key unknown."""
        async with self._refreshing:
            if time.monotonic() - self._refreshed < _UNKNOWN_SECONDS:
                return
            self._refreshed = time.monotonic()
            try:
                await asyncio.to_thread(self._ledger.refresh)
            except CreditlineError as error:
                self._warn_once(error.message)

    def _warn_once(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("changes of API keys cannot be followed now: %s", problem)
        self._problem = problem
