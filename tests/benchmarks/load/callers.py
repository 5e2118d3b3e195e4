"""Callers for load runs: many calls at once from one event loop, and what became of each."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
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
_OF_HTTP = {"200": ANSWERED, "429": REFUSED, "503": "UNAVAILABLE", "504": LATE}
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
            host, port = self.stack.gateway_url.removeprefix("http://").rstrip("/").split(":")
            yield Caller(AttributionStub(channel), (host, int(port)), self.pictures)


@dataclass(frozen=True)
class PreparedCall:
    """A call with a prompt of its own."""

    stub: AttributionStub
    picture: bytes
    prompt: str
    seconds: float

    async def send(self) -> Outcome:
        """Send it, and wait for its end. A caller that is cancelled cancels the call."""
        request = attribution_pb2.AttributeRequest(image=self.picture, prompt=self.prompt)
        began = time.monotonic()
        try:
            await self.stub.Attribute(request, timeout=self.seconds, metadata=_METADATA)
            status = ANSWERED
        except grpc.RpcError as failure:
            status = str(failure.code().name)
        return Outcome(status, time.monotonic() - began, self.prompt)


class Caller:
    """Sends calls over one connection.

    Args:
        stub: The service.
        http_address: Host and port of HTTP.
        pictures: Pictures to send in turn, with captions.
    """

    def __init__(
        self,
        stub: AttributionStub,
        http_address: tuple[str, int],
        pictures: Sequence[tuple[bytes, str]],
    ) -> None:
        self._stub = stub
        self._http_address = http_address
        self._pictures = pictures

    def prepared(self, seconds: float = DEADLINE_SECONDS) -> PreparedCall:
        """A call that is not sent yet."""
        number = next(_numbers)
        picture, caption = self._pictures[number % len(self._pictures)]
        return PreparedCall(self._stub, picture, f"{caption} {number}", seconds)

    async def call(self, seconds: float = DEADLINE_SECONDS) -> Outcome:
        """One call."""
        return await self.prepared(seconds).send()

    async def call_http(self, seconds: float = DEADLINE_SECONDS) -> Outcome:
        """One request over HTTP, on a connection of its own; the status is gRPC's for the same error."""
        call, began = self.prepared(seconds), time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                status = await _http_status(self._http_address, call)
        except TimeoutError:
            status = "504"
        except OSError:
            status = "503"
        return Outcome(_OF_HTTP.get(status, status), time.monotonic() - began, call.prompt)

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

    async def at_once(self, count: int, *, over_http: bool = False) -> list[Outcome]:
        """A number of calls at the same time."""
        call = self.call_http if over_http else self.call
        return await asyncio.gather(*(call() for _ in range(count)))


async def _http_status(address: tuple[str, int], call: PreparedCall) -> str:
    """Send a call as JSON; the status of the answer, once all of it has come."""
    image = base64.b64encode(call.picture).decode()
    body = json.dumps({"image": image, "prompt": call.prompt}).encode()
    head = (
        "POST /v1/attributions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {API_KEY}\r\nX-Request-Timeout: {call.seconds}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(head.encode() + body)
        answer = await reader.read()
    finally:
        writer.close()
    return answer.split(b" ", 2)[1].decode() if answer else "503"


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
