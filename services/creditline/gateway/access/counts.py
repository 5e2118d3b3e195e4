"""Counts of requests by key: in Redis for all gateways, and in memory while Redis is away."""

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

from creditline.ledger import Allowance

AWAY_SECONDS = 1.0
"""After a failure Redis is not asked for this time."""
# Calls take less than a millisecond each; the others wait for a connection.
_MOST_CONNECTIONS = 16
_log = logging.getLogger(__name__)


class Excess(NamedTuple):
    """The limit that refuses a request."""

    position: int
    """Its place among the limits that were asked for."""
    retry_after_ms: int | None
    """Time after which the request would be allowed, in milliseconds; None: never."""


class Counts:
    """Leaky buckets (GCRA) by name; what one of several limits refuses is counted by none.

    Args:
        url: Returns the URL of the Redis to use now.
        answer_seconds: Longest time that a request waits for Redis.
        on_local: Called with whether this gateway counts for itself, when that changes.
        clock: Returns seconds since the epoch, alike for all gateways.
        monotonic: Returns seconds that never run backwards.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        answer_seconds: float,
        on_local: Callable[[bool], None],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url_now = url
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

    async def charge(self, name: str, limits: Sequence[Allowance], cost: int) -> Excess | None:
        """Count a request, unless a limit refuses it.

        Args:
            name: Name of the count, the same in all gateways.
            limits: Limits of the count, checked together.
            cost: What the request counts.

        Returns:
            The limit that refuses the request; None: it is counted.
        """
        await self._follow()
        rates = [Rate(limit.amount, limit.seconds * 1_000) for limit in limits]
        decision = await self._decide(name, rates, cost)
        if decision.allowed:
            return None
        position = next(place for place, rate in enumerate(rates) if rate is decision.failing_rate)
        return Excess(position, decision.retry_after_ms)

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
