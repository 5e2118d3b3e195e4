"""The gateway's start, and its memory after a thousand answers.

Run `python -m tests.benchmarks.serving.start` on a quiet machine (about two minutes). Starts are timed from
the process's creation to the first health answer; the other services are not needed for it. The answers come
from a local stack.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.load.gateway_process import gateway_process
from tests.benchmarks.process_trees import resident_mib, tree, tree_mib
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result
from tests.benchmarks.serving.stacks import Callers, RunningStack, queries, running_stack

COMMAND = "python -m tests.benchmarks.serving.start"
SEED = 0
_STARTS = 9
_ANSWERS = 1_000
_CALLERS = 8
_SIDE = 64
_DIFFERENT = 200


def start_seconds() -> float:
    """Seconds from the creation of a gateway's process until it reports that it serves."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        with gateway_process(Path(directory)):
            return time.perf_counter() - began


def gateway_pid(stack: RunningStack) -> int:
    """Process id of the gateway itself, which the stack starts below a guardian."""
    wanted = b"-m\0creditline.gateway\0"
    of_gateway = [
        pid
        for pid in tree(stack.pids["gateway"])
        if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(wanted)
        and b"guardian" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return of_gateway[0]


async def answered(stack: RunningStack, answers: int) -> None:
    """Let the stack answer."""
    sent = queries(_DIFFERENT, _SIDE, SEED)
    async with Callers(stack) as callers:
        await callers.all(_CALLERS, [sent[number % len(sent)] for number in range(answers)])


def memory_after(answers: int) -> dict[str, Any]:
    """Memory of a gateway after so many answers."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running_stack(REPOSITORY / "services", Path(directory)) as stack,
    ):
        asyncio.run(answered(stack, answers))
        return {
            "part": "memory",
            "answers": answers,
            "gateway_mib": resident_mib(gateway_pid(stack)),
            "with_decoders_mib": tree_mib(stack.pids["gateway"]),
        }


def main() -> None:
    """Measure, print and write the figures."""
    starts = [start_seconds() for _ in range(_STARTS)]
    memory = memory_after(_ANSWERS)
    print(memory, flush=True)
    found = {
        "gateway_start_seconds": Figure(
            float(np.median(starts)),
            "s",
            min(starts),
            max(starts),
            "<= 1.5",
            f"from the creation of the process until it serves, median of {_STARTS}",
        ),
        "gateway_mib": Figure(
            memory["gateway_mib"],
            "MiB",
            None,
            None,
            "<= 250",
            f"resident memory of the gateway after {_ANSWERS} answers;"
            f" with its decoders {memory['with_decoders_mib']:.0f} MiB (shared pages counted once)",
        ),
    }
    for name, figure in found.items():
        print(f"{name}: {figure.value:.3f}  {figure.what}")
    rows = [{"part": "start", "start": number, "seconds": took} for number, took in enumerate(starts)]
    write_result("serving", COMMAND, SEED, found, [*rows, memory], merge=True)


if __name__ == "__main__":
    main()
