"""Swaps under load: releases in the index, and replicas of gateway and embedder one after the other.

Run `python -m tests.benchmarks.load.swaps` (about five minutes). Two gateways and two embedders run as
processes of their own in front of one Qdrant and one ledger; callers use the client as it comes, with both
gateways' addresses. Meanwhile builds of the release are swapped, and every replica is ended by SIGTERM and
started again. At the end a gateway is ended while it is busy with pictures that take long to decode.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from creditline.client import NO_RETRIES
from creditline.client.async_client import AsyncCreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.errors import CreditlineError
from creditline.index import WorkIndex, load_release
from creditline.index.builds.promotion import promote, roll_back
from creditline.local.health import grpc_serves
from creditline.local.services import LOOPBACK, StackPorts
from creditline.local.settings import LocalSettings
from creditline.local.stack import LocalStack
from creditline.release import open_release
from tests.benchmarks.load.callers import API_KEY
from tests.benchmarks.load.decoding import detailed_picture, flat_picture
from tests.benchmarks.result_files import Figure, write_result
from tests.processes import wait_until

COMMAND = "make load"
_CALLERS = 8
_ROUNDS = 2
_SWAPS = 10
_SETTLE_SECONDS = 2.0
_START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_CALL_SECONDS = 30.0
_DECODING_CALLERS = 24
_DECODING_SECONDS = 3.0


@dataclass(eq=False)
class Replica:
    """A service's process that can be ended and started again at the same address."""

    module: str
    port: int
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        """`host:port` of its gRPC."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start the process, and wait until it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module], env={**os.environ, **self.environment}, stderr=log
            )
        wait_until(lambda: grpc_serves(self.address), f"{self.module} serves", _START_SECONDS)

    def stop(self) -> float:
        """End the process by SIGTERM; the time that it took, in seconds."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(_STOP_SECONDS)
        return time.monotonic() - began

    def kill(self) -> None:
        """End the process at once, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Site:
    """Replicas behind one index and one ledger."""

    stack: LocalStack
    gateways: Sequence[Replica]
    embedders: Sequence[Replica]

    @property
    def target(self) -> str:
        """Addresses of all gateways, as gRPC takes them."""
        return "ipv4:" + ",".join(gateway.address for gateway in self.gateways)


@contextmanager
def running_replicas() -> Iterator[Site]:
    """Two gateways and two embedders, beside a local stack that holds index and Redis."""
    with (
        tempfile.TemporaryDirectory() as name,
        LocalStack(
            state_directory=Path(name) / "stack",
            services=("redis", "qdrant", "embedder", "gateway"),
            settings=LocalSettings(api_keys=API_KEY),
        ) as stack,
    ):
        site = _replicas(stack, Path(name))
        replicas = (*site.embedders, *site.gateways)
        try:
            for replica in replicas:
                replica.start()
            yield site
        finally:
            for replica in replicas:
                replica.kill()


def _replicas(stack: LocalStack, directory: Path) -> Site:
    embedders = [_embedder(stack, directory / f"embedder-{number}.log") for number in range(2)]
    target = "ipv4:" + ",".join(embedder.address for embedder in embedders)
    gateways = [_gateway(stack, target, directory / f"gateway-{number}.log") for number in range(2)]
    return Site(stack, gateways, embedders)


def _embedder(stack: LocalStack, log: Path) -> Replica:
    ports = StackPorts.free()
    own = {
        "CREDITLINE_EMBEDDER_PORT": str(ports.embedder),
        "CREDITLINE_EMBEDDER_METRICS_PORT": str(ports.embedder_metrics),
    }
    return Replica("creditline.embedder", ports.embedder, {**stack.environment, **own}, log)


def _gateway(stack: LocalStack, embedders: str, log: Path) -> Replica:
    ports = StackPorts.free()
    own = {
        "CREDITLINE_GATEWAY_GRPC_PORT": str(ports.gateway_grpc),
        "CREDITLINE_GATEWAY_HTTP_PORT": str(ports.gateway_http),
        "CREDITLINE_EMBEDDER_TARGET": embedders,
    }
    return Replica("creditline.gateway", ports.gateway_grpc, {**stack.environment, **own}, log)


@asynccontextmanager
async def asked(target: str, callers: int) -> AsyncIterator[Counter[str]]:
    """Ask from several callers, one question after the other, until the block ends; yields outcomes."""
    works, outcomes, ended = embedded_corpus().works[::97], Counter[str](), False

    async def ask(client: AsyncCreditlineClient, first: int) -> None:
        number = first
        while not ended:
            work = works[number % len(works)]
            number += callers
            try:
                await client.attribute(work.thumbnail, prompt=work.caption)
                outcomes["answered"] += 1
            except CreditlineError as error:
                outcomes[f"{type(error).__name__}: {error.message}"[:200]] += 1

    async with AsyncCreditlineClient(target, api_key=API_KEY, timeout_seconds=_CALL_SECONDS) as client:
        tasks = [asyncio.create_task(ask(client, number)) for number in range(callers)]
        try:
            yield outcomes
        finally:
            ended = True
            await asyncio.gather(*tasks)


async def swap_builds(site: Site, swaps: int) -> Counter[str]:
    """Build the release anew beside the live build, and swap the two under load."""
    release_directory = site.stack.release_directory
    assert release_directory is not None
    release = open_release(release_directory)
    async with asked(site.target, _CALLERS) as outcomes:
        with contextlib.closing(WorkIndex.connect(LOOPBACK, site.stack.qdrant_port)) as index:
            done = await asyncio.to_thread(load_release, release, embedded_corpus, index, rebuild=True)
            for number in range(swaps - 1):
                await asyncio.sleep(_SETTLE_SECONDS / 2)
                if number % 2:
                    await asyncio.to_thread(promote, index, release.collection, done.live)
                else:
                    await asyncio.to_thread(roll_back, index, release.collection)
    return outcomes


async def restart(site: Site, replicas: Sequence[Replica], rounds: int) -> tuple[Counter[str], list[float]]:
    """End and start one replica after the other under load; outcomes, and the time that each end took."""
    seconds = []
    async with asked(site.target, _CALLERS) as outcomes:
        for _ in range(rounds):
            for replica in replicas:
                await asyncio.sleep(_SETTLE_SECONDS)
                seconds.append(await asyncio.to_thread(replica.stop))
                await asyncio.to_thread(replica.start)
        await asyncio.sleep(_SETTLE_SECONDS)
    return outcomes, seconds


async def stop_while_decoding(gateway: Replica) -> float:
    """End a gateway while it is busy with pictures that take long to decode; seconds."""
    pictures, ended = (flat_picture((6_000, 5_000)), detailed_picture(2_200)), False

    async def send(client: AsyncCreditlineClient, picture: bytes) -> None:
        while not ended:
            try:
                await client.attribute(picture, prompt="orange")
            except CreditlineError:
                await asyncio.sleep(0.05)

    async with AsyncCreditlineClient(gateway.address, api_key=API_KEY, retries=NO_RETRIES) as client:
        tasks = [
            asyncio.create_task(send(client, pictures[number % 2])) for number in range(_DECODING_CALLERS)
        ]
        await asyncio.sleep(_DECODING_SECONDS)
        seconds = await asyncio.to_thread(gateway.stop)
        ended = True
        await asyncio.gather(*tasks)
    return seconds


@dataclass(frozen=True)
class Plan:
    """How often to swap and restart."""

    swaps: int = _SWAPS
    rounds: int = _ROUNDS


async def measure(site: Site, plan: Plan) -> list[dict[str, Any]]:
    """All parts, one after the other."""
    rows = [_row("hot swap", await swap_builds(site, plan.swaps), [])]
    rows.append(_row("restart of gateways", *await restart(site, site.gateways, plan.rounds)))
    rows.append(_row("restart of embedders", *await restart(site, site.embedders, plan.rounds)))
    rows.append(_row("stop while decoding", Counter(), [await stop_while_decoding(site.gateways[0])]))
    return rows


def _row(part: str, outcomes: Counter[str], stops: Sequence[float]) -> dict[str, Any]:
    row = {"part": part, "outcomes": dict(outcomes), "stop_seconds": [round(each, 2) for each in stops]}
    print(row, flush=True)
    return row


def figures_of(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """The figures of the runs."""
    calls = sum(sum(row["outcomes"].values()) for row in rows)
    answered = sum(row["outcomes"].get("answered", 0) for row in rows)
    stops = [seconds for row in rows if "embedder" not in row["part"] for seconds in row["stop_seconds"]]
    return {
        "swap_failures": Figure(
            calls - answered,
            target="== 0",
            what=f"failed of {calls:,} calls by the client during hot swaps of builds, and restarts of"
            " gateways and embedders one after the other (a count, exact)",
        ),
        "stop_seconds": Figure(
            max(stops),
            unit="s",
            low=min(stops),
            high=max(stops),
            target="<= 15",
            what="longest time from SIGTERM to the end of a gateway, under load and while decoding",
        ),
    }


def main() -> None:
    """Measure and merge into `load.json`."""
    with running_replicas() as site:
        rows = asyncio.run(measure(site, Plan()))
    figures = figures_of(rows)
    write_result("load", COMMAND, None, figures, rows, merge=True)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.3g} (target {figure.target})")


if __name__ == "__main__":
    main()
