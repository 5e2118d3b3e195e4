"""Works added to the live release while it answers: failed answers, and what adding costs their latency.

`python -m tests.benchmarks.bring.adding` starts the real local stack, asks the gateway for answers all along,
and meanwhile adds augmented copies of packaged works under new ids with `creditline index add`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from creditline.client import CreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Work
from creditline.errors import CreditlineError
from creditline.local.stack import LocalStack
from creditline.release import open_release, reference_release_directory
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make bench-bring"
_WORKS = 2_000
_CALLERS = 2
_ANSWER_SECONDS = 60.0
_QUIET_SECONDS = 30.0
_ADD_SECONDS = 3_000


@dataclass
class Answers:
    """Outcomes of the answers of one phase."""

    milliseconds: list[float] = field(default_factory=list)
    """Latency of each answer."""
    failures: list[str] = field(default_factory=list)
    """Message of each failed answer."""
    newest: int = 0
    """Largest number of works newer than the calibration in an answer."""

    def row(self, phase: str) -> dict[str, object]:
        """The phase as a row of the result file."""
        times = np.array(self.milliseconds) if self.milliseconds else np.zeros(1)
        return {
            "part": "adding",
            "phase": phase,
            "answers": len(self.milliseconds),
            "failed": len(self.failures),
            "p50_ms": float(np.percentile(times, 50)),
            "p99_ms": float(np.percentile(times, 99)),
            "works_newer_than_calibration": self.newest,
        }


def write_augmented(directory: Path, count: int, *, seed: int) -> None:
    """Write augmented copies of packaged works, as a folder of pictures with their captions.

    Args:
        directory: The folder, which is created.
        count: Number of copies.
        seed: Seed of works and changes.
    """
    random, works = np.random.default_rng(seed), embedded_corpus().works
    directory.mkdir(parents=True)
    for number, row in enumerate(random.choice(len(works), count, replace=count > len(works))):
        work = works[int(row)]
        _augmented(work, random).save(directory / f"new-{number:05d}.png")
        (directory / f"new-{number:05d}.txt").write_text(work.caption)


def _augmented(work: Work, random: np.random.Generator) -> Image.Image:
    picture = ImageOps.mirror(work.picture())
    turned = picture.rotate(float(random.uniform(-20, 20)), fillcolor="white")
    return ImageEnhance.Color(turned).enhance(float(random.uniform(0.3, 1.7)))


@contextmanager
def answered(target: str, api_key: str, generator: str, pictures: list[Work]) -> Iterator[Answers]:
    """Ask for answers all the time, from two callers at once, until the block ends."""
    answers, ended, lock = Answers(), threading.Event(), threading.Lock()

    def ask(first: int) -> None:
        with CreditlineClient(target, api_key=api_key) as client:
            number = first
            while not ended.is_set():
                _ask_once(client, generator, pictures[number % len(pictures)], answers, lock)
                number += _CALLERS

    with ThreadPoolExecutor(_CALLERS) as callers:
        running = [callers.submit(ask, first) for first in range(_CALLERS)]
        try:
            yield answers
        finally:
            ended.set()
    for caller in running:
        caller.result()


def _ask_once(
    client: CreditlineClient, generator: str, work: Work, answers: Answers, lock: threading.Lock
) -> None:
    began = time.perf_counter()
    try:
        found = client.attribute(
            work.thumbnail, prompt=work.caption, generator=generator, timeout_seconds=_ANSWER_SECONDS
        )
    except CreditlineError as error:
        with lock:
            answers.failures.append(error.message)
        return
    total = sum(credited.share for credited in found.works) + found.remainder
    with lock:
        answers.milliseconds.append((time.perf_counter() - began) * 1e3)
        answers.newest = max(answers.newest, found.works_newer_than_calibration)
        if abs(total - 1.0) > 1e-6:
            answers.failures.append(f"shares and remainder sum to {total}")


def add_under_load(
    directory: Path, count: int, *, quiet_seconds: float, report: Callable[[str], None], seed: int = 0
) -> dict[str, Answers]:
    """Add works to the reference release of a local stack while it answers.

    Args:
        directory: Directory of the stack and of the works.
        count: Number of works.
        quiet_seconds: Time for which answers are asked for before anything is added, and after it.
        report: Receives one line about progress at a time.
        seed: Seed of the works.

    Returns:
        The answers of each phase: before, during and after the addition.
    """
    release = open_release(reference_release_directory())
    generator, pictures = release.generator_fingerprint, list(embedded_corpus().works[::97])
    write_augmented(directory / "new", count, seed=seed)
    phases = {}
    with LocalStack(
        state_directory=directory / "stack",
        services=("redis", "qdrant", "embedder", "gateway"),
        report=report,
    ) as stack:
        for phase, act in (
            ("before", lambda: time.sleep(quiet_seconds)),
            ("during", lambda: _add(directory, release.name, generator, report)),
            ("after", lambda: time.sleep(quiet_seconds)),
        ):
            with answered(stack.gateway_target, stack.api_key, generator, pictures) as answers:
                act()
            phases[phase] = answers
            report(json.dumps(answers.row(phase)))
    return phases


def _add(directory: Path, release: str, generator: str, report: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "creditline.cli.main", "index", "add", str(directory / "new")]
    command += ["--to", release, "--trained-on", generator, "--by", "benchmark"]
    command += ["--state-directory", str(directory / "stack")]
    done = subprocess.run(
        command, cwd=directory, env=os.environ, capture_output=True, text=True, timeout=_ADD_SECONDS
    )
    report(done.stdout.strip())
    if done.returncode:
        raise RuntimeError(f"creditline index add failed: {done.stderr}")


def main() -> None:
    """Measure and write `bring.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--works", type=int, default=_WORKS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        phases = add_under_load(
            Path(directory),
            given.works,
            quiet_seconds=_QUIET_SECONDS,
            report=lambda line: print(line, flush=True),
        )
    failed = sum(len(answers.failures) for answers in phases.values())
    failed += phases["after"].newest != given.works
    what = f"failed answers while {given.works:,} works are added to the live release, and before and after"
    figure = Figure(float(failed), target="== 0", what=what)
    rows = [answers.row(phase) for phase, answers in phases.items()]
    write_result("bring", COMMAND, 0, {"add_failures": figure}, rows, merge=True)


if __name__ == "__main__":
    main()
