"""Callers for load runs: many calls at once from one event loop, and what became of each."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from creditline.corpus.openclipart import embedded_corpus
from creditline.local.settings import LocalSettings
from creditline.local.stack import LocalStack
from creditline.v1 import attribution_pb2
from creditline.v1.attribution_pb2_grpc import AttributionStub

API_KEY = "load-test"
DEADLINE_SECONDS = 10.0
ANSWERED, REFUSED, LATE = "OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"
_METADATA = (("authorization", f"Bearer {API_KEY}"),)
_WORKS_APART = 97
# Each call has a prompt of its own, by which its row is found in the ledger.
_numbers = itertools.count()


@dataclass(frozen=True)
class Outcome:
    """What became of one call."""

    status: str
    """Name of the gRPC status."""
    seconds: float
    """Duration as its caller saw it."""
    prompt: str
    """Its prompt."""


@dataclass(frozen=True)
class Site:
    """A running stack, and calls to its gateway."""

    stack: LocalStack
    pictures: Sequence[tuple[bytes, str]]

    @property
    def gateway_pid(self) -> int:
        """Process id of the gateway's guardian."""
        return self.stack.pids["gateway"]

    @asynccontextmanager
    async def calls(self) -> AsyncIterator[Caller]:
        """A connection to the gateway."""
        async with grpc.aio.insecure_channel(self.stack.gateway_target) as channel:
            yield Caller(AttributionStub(channel), self.pictures)


class Caller:
    """Sends calls over one connection.

    Args:
        stub: The service.
        pictures: Pictures to send in turn, with captions.
    """

    def __init__(self, stub: AttributionStub, pictures: Sequence[tuple[bytes, str]]) -> None:
        self._stub = stub
        self._pictures = pictures

    async def call(self, seconds: float = DEADLINE_SECONDS) -> Outcome:
        """One call. A caller that is cancelled cancels the call."""
        number = next(_numbers)
        picture, caption = self._pictures[number % len(self._pictures)]
        prompt = f"{caption} {number}"
        request, began = attribution_pb2.AttributeRequest(image=picture, prompt=prompt), time.monotonic()
        try:
            await self._stub.Attribute(request, timeout=seconds, metadata=_METADATA)
            status = ANSWERED
        except grpc.RpcError as failure:
            status = str(failure.code().name)
        return Outcome(status, time.monotonic() - began, prompt)

    async def closed_loop(self, callers: int, seconds: float) -> list[Outcome]:
        """Keep a number of calls in progress for a time; the calls that ended within it."""
        outcomes: list[Outcome] = []
        until = time.monotonic() + seconds

        async def one() -> None:
            while time.monotonic() < until:
                outcome = await self.call()
                if time.monotonic() < until:
                    outcomes.append(outcome)

        await asyncio.gather(*(one() for _ in range(callers)))
        return outcomes

    async def at_once(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Outcome]:
        """A number of calls at the same time."""
        return await asyncio.gather(*(self.call(seconds) for _ in range(count)))

    async def open_loop(self, per_second: float, seconds: float) -> list[Outcome]:
        """Begin calls at a rate, whatever became of those before; all of them, once they have ended."""
        tasks, began = [], time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(elapsed * per_second) - len(tasks)
            tasks += [asyncio.create_task(self.call()) for _ in range(due)]
            await asyncio.sleep(0.005)
        return await asyncio.gather(*tasks)


def counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many calls ended with each status."""
    return dict(sorted(Counter(outcome.status for outcome in outcomes).items()))


@contextmanager
def running_site(environment: Mapping[str, str] | None = None) -> Iterator[Site]:
    """A local stack of Redis, Qdrant, embedder and gateway.

    Args:
        environment: More of the environment of its processes.
    """
    with (
        _environment(environment or {}),
        tempfile.TemporaryDirectory() as directory,
        LocalStack(
            state_directory=Path(directory),
            services=("redis", "qdrant", "embedder", "gateway"),
            settings=LocalSettings(api_keys=API_KEY),
        ) as stack,
    ):
        yield Site(
            stack, [(work.thumbnail, work.caption) for work in embedded_corpus().works[::_WORKS_APART]]
        )


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
