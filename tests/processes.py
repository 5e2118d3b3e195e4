"""Waiting for what another process does, and processes of which several do the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

_SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
    """Return once the condition holds. Raises TimeoutError naming `what` after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)


def freeze(pid: int) -> None:
    """Stop a process by SIGSTOP, and return once it stands still; SIGCONT lets it go on.

    The signal is only delivered when `kill` returns: a thread that runs on another core goes on until it next
    enters the kernel, and may answer a request before that.
    """
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: set(_thread_states(pid)) == {"T"}, f"process {pid} stands still")


def _thread_states(pid: int) -> list[str]:
    """States of a process's threads, as letters of proc(5); the name before them may hold spaces."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return [stat.rpartition(")")[2].split()[0] for stat in stats]


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process of its own, begun with a fresh interpreter; it ends with this one."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def end(*processes: BaseProcess, seconds: float = _SECONDS) -> list[int | None]:
    """Wait for all; their exit codes. Whichever has not ended by then is killed."""
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    return codes
