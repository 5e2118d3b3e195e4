"""Others' latency beside pictures that are slow to decode, and the gateway's memory meanwhile.

Run `python -m tests.benchmarks.load.decoding` (about three minutes). It starts the real local stack twice:
once with a limit of processor time set low, which two callers keep hitting with ordinary large pictures (one
of them small enough for the lane of ordinary pictures), and once with the defaults, beside 24 callers whose
pictures have 40 million pixels. Undisturbed and disturbed phases alternate.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from creditline.client import NO_RETRIES, CreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Work
from creditline.errors import CreditlineError
from creditline.ledger import Ledger, Scope
from creditline.local.settings import LocalSettings
from creditline.local.stack import LocalStack
from tests.benchmarks.process_trees import tree_mib
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make load"
OPERATOR = "operator-key"
OTHERS, GREEDY = "others", "greedy"
_PAIRS = 3
_PHASE_SECONDS = 6.0
_SETTLE_SECONDS = 1.0
_LOW_LIMIT_SECONDS = 0.12
_SAMPLE_SECONDS = 0.05
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Disturbance:
    """Callers beside whom the others are measured."""

    name: str
    """Name in the result file."""
    callers: int
    """Number of callers, each with one request at a time."""
    pictures: tuple[bytes, ...]
    """What they send; each caller one of them."""
    settings: dict[str, str]
    """Environment of the gateway."""


def flat_picture(side: tuple[int, int]) -> bytes:
    """A PNG of many pixels in a small file."""
    buffer = io.BytesIO()
    Image.new("RGB", side, (250, 128, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def detailed_picture(side: int) -> bytes:
    """A progressive JPEG of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=90, progressive=True)
    return buffer.getvalue()


def disturbances() -> tuple[Disturbance, Disturbance]:
    """Two callers that keep hitting a limit of time set low, and 24 with 40 million pixels each."""
    return (
        Disturbance(
            "slow_decode",
            2,
            (flat_picture((6_000, 5_000)), detailed_picture(2_200)),
            {"CREDITLINE_DECODE_CPU_SECONDS": f"{_LOW_LIMIT_SECONDS}"},
        ),
        Disturbance("starving", 24, (flat_picture((8_000, 5_000)),), {}),
    )


def made_keys(ledger_url: str) -> dict[str, str]:
    """API keys of two owners, by owner: callers take turns by owner."""
    with Ledger.open(ledger_url) as ledger:
        return {owner: ledger.keys.create(owner, {Scope.ATTRIBUTE}).text for owner in (OTHERS, GREEDY)}


@contextmanager
def sent(target: str, key: str, disturbance: Disturbance) -> Iterator[dict[str, int]]:
    """Send the disturbing pictures from all callers until the block ends; yields outcomes by kind.

    Args:
        target: Address of the gateway.
        key: API key of the callers.
        disturbance: What they send.
    """
    outcomes: dict[str, int] = {}
    ended, lock = threading.Event(), threading.Lock()

    def send(picture: bytes) -> None:
        with CreditlineClient(target, api_key=key, retries=NO_RETRIES) as client:
            while not ended.is_set():
                try:
                    client.attribute(picture, prompt="orange", timeout_seconds=_TIMEOUT_SECONDS)
                    outcome = "answered"
                except CreditlineError as error:
                    outcome = type(error).__name__
                with lock:
                    outcomes[outcome] = outcomes.get(outcome, 0) + 1

    with ThreadPoolExecutor(disturbance.callers) as callers:
        for number in range(disturbance.callers):
            callers.submit(send, disturbance.pictures[number % len(disturbance.pictures)])
        try:
            yield outcomes
        finally:
            ended.set()


@contextmanager
def watched(pid: int) -> Iterator[list[float]]:
    """Sample the memory of a process tree until the block ends, in MiB, shared pages counted once."""
    samples: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            samples.append(tree_mib(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def latencies(client: CreditlineClient, works: Sequence[Work], seconds: float) -> list[float]:
    """Latency of one answer after the other, in milliseconds."""
    times, until, number = [], time.monotonic() + seconds, 0
    while time.monotonic() < until:
        work = works[number % len(works)]
        number += 1
        began = time.perf_counter()
        client.attribute(work.thumbnail, prompt=work.caption, timeout_seconds=_TIMEOUT_SECONDS)
        times.append((time.perf_counter() - began) * 1e3)
    return times


def measure(
    disturbance: Disturbance, *, pairs: int = _PAIRS, seconds: float = _PHASE_SECONDS
) -> tuple[list[dict[str, Any]], float]:
    """Latency of one caller with and without the disturbance, and the gateway's peak of memory in MiB."""
    rows: list[dict[str, Any]] = []
    environment = {name: os.environ.get(name) for name in disturbance.settings}
    os.environ.update(disturbance.settings)
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            LocalStack(
                state_directory=Path(directory),
                services=("redis", "qdrant", "embedder", "gateway"),
                settings=LocalSettings(api_keys=OPERATOR),
            ) as stack,
            watched(stack.pids["gateway"]) as samples,
        ):
            # Once: a gateway that has just read its keys may not know a newer one for a second.
            keys = made_keys(stack.ledger_url)
            for pair in range(pairs):
                rows += _pair(stack, keys, disturbance, pair, seconds)
                print(rows[-2:], flush=True)
    finally:
        for name, value in environment.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return rows, max(samples)


def _pair(
    stack: LocalStack, keys: dict[str, str], disturbance: Disturbance, pair: int, seconds: float
) -> list[dict[str, Any]]:
    """One phase without and one with the disturbance."""
    works = list(embedded_corpus().works[::97])
    with CreditlineClient(stack.gateway_target, api_key=keys[OTHERS], retries=NO_RETRIES) as client:
        latencies(client, works, _SETTLE_SECONDS)
        undisturbed = latencies(client, works, seconds)
        with sent(stack.gateway_target, keys[GREEDY], disturbance) as outcomes:
            time.sleep(_SETTLE_SECONDS)
            times = latencies(client, works, seconds)
    return [
        _row(disturbance, pair, "undisturbed", undisturbed, {}),
        _row(disturbance, pair, "disturbed", times, outcomes),
    ]


def _row(
    disturbance: Disturbance, pair: int, phase: str, times: Sequence[float], outcomes: dict[str, int]
) -> dict[str, Any]:
    return {
        "part": disturbance.name,
        "pair": pair,
        "phase": phase,
        "answers": len(times),
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
        "others": dict(outcomes),
    }


def ratios(rows: Sequence[dict[str, Any]]) -> list[float]:
    """p99 of each disturbed phase over that of the undisturbed phase before it."""
    return [after["p99_ms"] / before["p99_ms"] for before, after in zip(rows[::2], rows[1::2], strict=True)]


def main() -> None:
    """Measure and merge into `load.json`."""
    figures, rows, peaks = {}, [], []
    for disturbance, what in zip(
        disturbances(),
        (
            "p99 of others while two requests keep hitting the decoder's time limit, over undisturbed",
            "p99 of others beside one key with 24 callers and 40-megapixel pictures, over undisturbed",
        ),
        strict=True,
    ):
        measured, peak = measure(disturbance)
        found = ratios(measured)
        figures[f"{disturbance.name}_p99_ratio"] = Figure(
            float(np.median(found)), "", min(found), max(found), "<= 2", f"{what} (median of {_PAIRS} pairs)"
        )
        rows += measured
        peaks.append(peak)
    figures["peak_mib"] = Figure(
        max(peaks),
        "MiB",
        min(peaks),
        max(peaks),
        "<= 900",
        "peak memory of gateway and decoders in those runs (proportional set size of the process tree)",
    )
    write_result("load", COMMAND, None, figures, rows, merge=True)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.3g} (target {figure.target})")


if __name__ == "__main__":
    main()
