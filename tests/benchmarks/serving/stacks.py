"""Stacks of two versions side by side, and callers that cost them little."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from creditline.corpus.openclipart import embedded_corpus
from creditline.v1.attribution_pb2 import AttributeRequest
from tests.benchmarks.process_trees import tree_seconds

_WORKER = Path(__file__).with_name("stack_worker.py")
_METHOD = "/creditline.v1.Attribution/Attribute"
_TIMEOUT_SECONDS = 60.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class RunningStack:
    """A stack of one version in processes of its own."""

    target: str
    """Address of the gateway's gRPC."""
    qdrant: str
    """Address of Qdrant's gRPC."""
    collection: str
    """The live release's collection."""
    api_key: str
    """A key that the gateway accepts."""
    generator: str
    """Fingerprint of the generator that the release answers for."""
    pids: dict[str, int]
    """Process id of each service."""

    def seconds(self) -> float:
        """Processor time of gateway, decoders and embedder since their start, in seconds."""
        return tree_seconds(self.pids["gateway"]) + tree_seconds(self.pids["embedder"])

    def request(self, picture: bytes, prompt: str) -> bytes:
        """A serialised request."""
        return AttributeRequest(image=picture, prompt=prompt, generator=self.generator).SerializeToString()


@contextmanager
def running_stack(source: Path, directory: Path) -> Iterator[RunningStack]:
    """The stack of the version in `source`, until the block ends; it keeps its data in `directory`."""
    process = subprocess.Popen(
        [sys.executable, str(_WORKER), str(directory)],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "the stack ended; its standard error says why"
        yield RunningStack(**json.loads(line))
    finally:
        process.stdin.close()
        process.wait(_STOP_SECONDS)


def queries(count: int, side: int, seed: int) -> list[tuple[bytes, str]]:
    """Works of the corpus as queries: PNG files of `side` pixels, and captions."""
    works = embedded_corpus().works
    rows = np.random.default_rng(seed).choice(len(works), count, replace=False)
    return [(_png(works[row].picture(), side), works[row].caption) for row in rows]


def _png(picture: Any, side: int) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").resize((side, side)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Answers:
    """What callers saw."""

    seconds: float
    """From the first request to the last answer."""
    latencies_ms: tuple[float, ...]
    """Of each answer."""

    @property
    def p50_ms(self) -> float:
        """Median latency, in milliseconds."""
        return float(np.median(self.latencies_ms))

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies_ms) / self.seconds


class Callers:
    """Callers of one stack, over one channel; requests and answers stay bytes, which costs them little.

    Use it as `async with`.
    """

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack

    async def __aenter__(self) -> Callers:
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(self._stack.target, options=options)
        self._call = self._channel.unary_unary(_METHOD)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def one(self, picture: bytes, prompt: str) -> float:
        """Send one request. Returns its latency in milliseconds."""
        metadata = (("authorization", f"Bearer {self._stack.api_key}"),)
        request, began = self._stack.request(picture, prompt), time.perf_counter()
        await self._call(request, metadata=metadata, timeout=_TIMEOUT_SECONDS)
        return (time.perf_counter() - began) * 1e3

    async def all(self, waiting: int, sent: Sequence[tuple[bytes, str]]) -> Answers:
        """Send all queries from `waiting` callers, each with one request at a time."""
        left, latencies = iter(sent), []

        async def caller() -> None:
            for query in left:
                latencies.append(await self.one(*query))

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(waiting)))
        return Answers(time.perf_counter() - began, tuple(latencies))
