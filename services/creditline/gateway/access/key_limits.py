"""Rates and quotas of API keys, counted in Redis for all gateways, and in memory while Redis is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from creditline.errors import QuotaExceeded, RateExceeded, ResourceExhausted
from creditline.gateway.access.caller import Caller
from creditline.ledger import Allowance

if TYPE_CHECKING:
    from creditline.gateway.access.counts import Counts

ANSWER_SECONDS = 0.05
"""Longest time that a request waits for Redis, unless stated otherwise."""
_PREFIX = "creditline:limits"


class _Limit(NamedTuple):
    """One limit of a key, and what exceeding it is called."""

    allowance: Allowance
    name: str
    error: type[ResourceExhausted]


class KeyLimits:
    """Counts requests against the rate and the quota of their keys.

    Both are leaky buckets (GCRA) that regain continuously, so that there is no window whose edge could be
    used: after a pause the whole amount is allowed at once, and in any time of the allowance's length less
    than twice the amount. Rate and quota are checked together, by one call of Redis, and what one of them
    refuses neither counts. Attributions and other requests have each a rate of their own; only attributions
    have a quota.

    While Redis is away, each gateway counts for itself. The client of Redis is loaded with the first request
    of a key that has limits.

    Args:
        url: URL of the Redis, as Celery and redis-py read it, or returns the one to use now.
        answer_seconds: Longest time that a request waits for Redis.
        on_local: Called with whether this gateway counts for itself, when that changes.
        clock: Returns seconds since the epoch, alike for all gateways.
        monotonic: Returns seconds that never run backwards.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        answer_seconds: float = ANSWER_SECONDS,
        on_local: Callable[[bool], None] = lambda local: None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url_now = url if callable(url) else lambda: url
        self._answer_seconds = answer_seconds
        self._on_local = on_local
        self._clock = clock
        self._monotonic = monotonic
        self._opening = asyncio.Lock()
        self._counts: Counts | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._counts is not None:
            await self._counts.close()

    async def charge(self, caller: Caller, *, attributions: int) -> None:
        """Count a request of a caller, unless a limit refuses it.

        Args:
            caller: Whose key is charged.
            attributions: Number of pictures to attribute; 0 for requests of other kinds.

        Raises:
            RateExceeded: The key's rate does not allow it now.
            QuotaExceeded: The key's quota does not allow it now.
        """
        limits = _limits_of(caller, with_quota=attributions > 0)
        if not limits:
            return
        kind, cost = ("attributions", attributions) if attributions else ("requests", 1)
        allowances = [limit.allowance for limit in limits]
        # With the limits in its name, a count is never read as that of another limit.
        name = f"{_PREFIX}:{caller.name}:{kind}:{':'.join(map(str, allowances))}"
        counts = self._counts or await self._opened()
        excess = await counts.charge(name, allowances, cost)
        if excess is not None:
            raise _refusal(limits[excess.position], cost, excess.retry_after_ms)

    async def _opened(self) -> Counts:
        async with self._opening:
            if self._counts is None:
                self._counts = (await asyncio.to_thread(_counts_class))(
                    self._url_now,
                    answer_seconds=self._answer_seconds,
                    on_local=self._on_local,
                    clock=self._clock,
                    monotonic=self._monotonic,
                )
            return self._counts


def _counts_class() -> type[Counts]:
    """Load what counts; takes a quarter of a second the first time."""
    from creditline.gateway.access.counts import Counts

    return Counts


def _limits_of(caller: Caller, *, with_quota: bool) -> Sequence[_Limit]:
    limits = []
    if caller.rate is not None:
        limits.append(_Limit(caller.rate, "rate", RateExceeded))
    if caller.quota is not None and with_quota:
        limits.append(_Limit(caller.quota, "quota", QuotaExceeded))
    return limits


def _refusal(limit: _Limit, cost: int, retry_after_ms: int | None) -> ResourceExhausted:
    if retry_after_ms is None:
        return limit.error(
            f"the request counts {cost:,}, more than the {limit.name} {limit.allowance} of this API key ever"
            " allows at once; send it in smaller parts",
            field="authorization",
        )
    return limit.error(
        f"the {limit.name} {limit.allowance} of this API key does not allow the request now; send it later,"
        " or ask the operator for more",
        field="authorization",
        retry_after_seconds=retry_after_ms / 1e3,
    )
