"""Connections to the embedder that end by age, and embedders that are frozen: what callers see of either."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from creditline.embedder_client.channel import NOTICED_SECONDS
from creditline.embedder_client.queries import EmbedderClient
from creditline.errors import CreditlineError, DeadlineExceeded, Unavailable
from creditline.pictures.queries import query_pixels
from tests.embedder_client.replicas import Replicas, png, replica_process, running_replicas
from tests.faults.tcp_proxy import TcpProxy
from tests.processes import freeze

_AGE_SECONDS = 0.3
_CALL_SECONDS = 2.0
_PAUSE_SECONDS = 0.2
# What two busy cores need besides.
_SLACK_SECONDS = 10.0
_PICTURE = query_pixels(png())


@pytest.fixture
def replicas() -> Iterator[Replicas]:
    with running_replicas() as running:
        yield running


@dataclass
class Calls:
    """Calls one after the other, and how each of them ended."""

    client: EmbedderClient
    replicas: Replicas
    ends: list[tuple[float, float, type[CreditlineError] | None]] = field(default_factory=list)
    """Time of its end, duration, and error of each call."""

    async def one(self, deadline_seconds: float = _CALL_SECONDS) -> type[CreditlineError] | None:
        release, began, error = self.replicas.release, time.monotonic(), None
        try:
            await self.client.embed(
                _PICTURE,
                "x",
                release=release.name,
                dimension=release.dimension,
                deadline_seconds=deadline_seconds,
            )
        except CreditlineError as failure:
            error = type(failure)
        self.ends.append((time.monotonic(), time.monotonic() - began, error))
        return error

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Call until a condition holds; fails when that takes longer than `seconds`."""
        limit = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < limit, self.ends[-10:]
            await self.one()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def last_for(self, seconds: float) -> list[type[CreditlineError] | None]:
        """Call for some time; the errors of these calls."""
        first, limit = len(self.ends), time.monotonic() + seconds
        while time.monotonic() < limit:
            await self.one()
            await asyncio.sleep(_PAUSE_SECONDS)
        return [error for _, _, error in self.ends[first:]]

    @property
    def last_error(self) -> type[CreditlineError] | None:
        return self.ends[-1][2]


def _run(replicas: Replicas, target: str, ask: Callable[[Calls], Awaitable[None]]) -> Calls:
    async def run() -> Calls:
        client = EmbedderClient(target)
        calls = Calls(client, replicas)
        try:
            await ask(calls)
        finally:
            await client.close()
        return calls

    return asyncio.run(run())


def test_no_call_fails_while_connections_end_by_their_age(
    replicas: Replicas, proxy_to: Callable[[int], TcpProxy]
) -> None:
    replicas.add("127.0.0.1", connection_age_seconds=_AGE_SECONDS)
    replicas.models["127.0.0.1"].seconds = 0.02
    proxy = proxy_to(replicas.port)

    async def steadily(calls: Calls) -> None:
        while proxy.accepted < 8:
            assert len(calls.ends) < 3_000, proxy.accepted
            await asyncio.gather(*(calls.one(30.0) for _ in range(3)))

    calls = _run(replicas, f"127.0.0.1:{proxy.port}", steadily)
    assert len(calls.ends) > 50
    assert {error for _, _, error in calls.ends} == {None}


@pytest.mark.slow
def test_a_frozen_embedder_is_noticed_and_its_calls_fail_at_once_until_it_goes_on(replicas: Replicas) -> None:
    with replica_process("127.0.0.1", 0) as (pid, port):

        async def ask(calls: Calls) -> None:
            assert await calls.one(30.0) is None
            freeze(pid)
            frozen = time.monotonic()
            assert await calls.one() is DeadlineExceeded
            await calls.until(lambda: calls.last_error is Unavailable, NOTICED_SECONDS + _SLACK_SECONDS)
            noticed, before = time.monotonic() - frozen, [error for _, _, error in calls.ends[1:-1]]
            assert set(before) == {DeadlineExceeded}
            assert noticed <= NOTICED_SECONDS + _CALL_SECONDS + _PAUSE_SECONDS
            after = await calls.last_for(3.0)
            assert set(after) == {Unavailable}
            assert len(after) > 3
            os.kill(pid, signal.SIGCONT)
            await calls.until(lambda: calls.last_error is None, _SLACK_SECONDS)
            assert set(await calls.last_for(1.0)) == {None}

        _run(replicas, f"127.0.0.1:{port}", ask)


@pytest.mark.slow
def test_the_calls_of_a_frozen_replica_are_made_by_the_other_once_it_is_noticed(replicas: Replicas) -> None:
    replicas.add("127.0.0.2", connection_age_seconds=300.0)
    with replica_process("127.0.0.3", replicas.port) as (pid, _):
        replicas.name("127.0.0.3")

        async def ask(calls: Calls) -> None:
            assert set(await calls.last_for(2.0)) == {None}
            answered = replicas.counts["127.0.0.2"]
            assert 0 < answered < len(calls.ends), "both replicas answer"
            freeze(pid)
            frozen = await calls.last_for(NOTICED_SECONDS + _CALL_SECONDS)
            assert set(frozen) == {None, DeadlineExceeded}
            assert set(await calls.last_for(5.0)) == {None}
            os.kill(pid, signal.SIGCONT)
            replicas.reset_counts()
            before = len(calls.ends)
            # A call that the other has not answered was answered by the one that goes on.
            await calls.until(lambda: len(calls.ends) - before > replicas.counts["127.0.0.2"], _SLACK_SECONDS)
            assert {error for _, _, error in calls.ends[before:]} == {None}

        _run(replicas, replicas.target, ask)


@pytest.mark.heavy
def test_a_call_that_takes_long_is_pinged_and_not_sent_away(replicas: Replicas) -> None:
    replicas.add("127.0.0.1", connection_age_seconds=300.0)
    replicas.models["127.0.0.1"].seconds = 45.0

    async def ask(calls: Calls) -> None:
        assert await calls.one(90.0) is None

    _run(replicas, f"127.0.0.1:{replicas.port}", ask)
    assert replicas.counts == {"127.0.0.1": 1}
