"""Rates and quotas of API keys, counted in Redis for all gateways, and in memory while Redis is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pyrate_limiter import GCRA, InMemoryStateStore, Rate, RedisStateStore
from pyrate_limiter.abstracts.algorithm import Decision
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from creditline.errors import QuotaExceeded, RateExceeded, ResourceExhausted
from creditline.gateway.access.caller import Caller
from creditline.ledger import Allowance

ANSWER_SECONDS = 0.05
"""Longest time that a request waits for Redis, unless stated otherwise."""
AWAY_SECONDS = 1.0
"""After a failure Redis is not asked for this time."""
_PREFIX = "creditline:limits"
# Calls take less than a millisecond each; the others wait for a connection.
_MOST_CONNECTIONS = 16
_log = logging.getLogger(__name__)


class _Limit(NamedTuple):
    """One limit of a key, and what exceeding it is called."""

    allowance: Allowance
    name: str
    error: type[ResourceExhausted]

    @property
    def rate(self) -> Rate:
        return Rate(self.allowance.amount, self.allowance.seconds * 1_000)


class KeyLimits:
    """Counts requests against the rate and the quota of their keys.

    Both are leaky buckets (GCRA) that regain continuously, so that there is no window whose edge could be
    used: after a pause the whole amount is allowed at once, and in any time of the allowance's length less
    than twice the amount. Rate and quota are checked together, by one call of Redis, and what one of them
    refuses neither counts. Attributions and other requests have each a rate of their own; only attributions
    have a quota.

    While Redis is away, each gateway counts for itself.

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
        self._url = self._url_now()
        self._redis = self._connection()
        self._algorithm = GCRA()
        self._on_local = on_local
        self._clock = clock
        self._monotonic = monotonic
        self._asked_again = 0.0
        self._is_local = False
        # Of keys in the ledger only, so they are not many.
        self._shared: dict[str, RedisStateStore] = {}
        self._own: dict[str, InMemoryStateStore] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _connection(self) -> Redis:
        pool = BlockingConnectionPool.from_url(
            # Celery's name of the scheme for a Unix socket, and redis-py's.
            self._url.replace("redis+socket://", "unix://", 1),
            max_connections=_MOST_CONNECTIONS,
            timeout=self._answer_seconds,
            socket_connect_timeout=self._answer_seconds,
            socket_timeout=self._answer_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        return Redis.from_pool(pool)

    async def _follow(self) -> None:
        """Connect anew when the URL has changed; calls that run on the old connections may fail."""
        url = self._url_now()
        if url != self._url:
            replaced, self._url = self._redis, url
            self._redis, self._shared, self._asked_again = self._connection(), {}, 0.0
            await replaced.aclose()

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
        await self._follow()
        kind, cost = ("attributions", attributions) if attributions else ("requests", 1)
        rates = [limit.rate for limit in limits]
        # With the limits in its name, a count is never read as that of another limit.
        amounts = ":".join(str(limit.allowance) for limit in limits)
        decision = await self._decide(f"{_PREFIX}:{caller.name}:{kind}:{amounts}", rates, cost)
        if not decision.allowed:
            refused = next(
                limit for limit, rate in zip(limits, rates, strict=True) if rate is decision.failing_rate
            )
            raise _refusal(refused, cost, decision.retry_after_ms)

    async def _decide(self, key: str, rates: list[Rate], cost: int) -> Decision:
        now = round(self._clock() * 1e3)
        if self._monotonic() >= self._asked_again:
            try:
                decision = await self._ask_redis(key, rates, cost, now)
            except (RedisError, OSError, TimeoutError) as error:
                self._asked_again = self._monotonic() + AWAY_SECONDS
                self._set_local(error)
            else:
                self._set_local(None)
                return decision
        return self._own.setdefault(key, InMemoryStateStore()).check(self._algorithm, rates, now, cost)

    async def _ask_redis(self, key: str, rates: list[Rate], cost: int, now: int) -> Decision:
        store = self._shared.setdefault(key, RedisStateStore(self._redis, key))
        async with asyncio.timeout(self._answer_seconds):
            decision: Decision = await store.check(self._algorithm, rates, now, cost)
        return decision

    def _set_local(self, error: Exception | None) -> None:
        if self._is_local is (error is not None):
            return
        self._is_local = error is not None
        self._on_local(self._is_local)
        if error is None:
            _log.info("Redis answers again: rates and quotas of keys are counted for all gateways")
        else:
            reason = str(error) or f"no answer within {self._answer_seconds:g} s"
            _log.warning(
                "Redis does not answer, so each gateway counts rates and quotas of keys for itself: %s",
                reason,
            )


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
