"""A local stack in the background: started in a session of its own, and stopped by its state directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from creditline.errors import DeadlineExceeded, NotReady, Unavailable
from creditline.local.state import StateDirectory
from creditline.retries import RetryPolicy

_POLL_SECONDS = 0.2
# The services' own limits end a start sooner.
_START_SECONDS = 900.0
_STOP_SECONDS = 90.0
_LOG = "supervisor"


def start_stack(
    arguments: Sequence[str], directory: StateDirectory, *, report: Callable[[str], None]
) -> Path:
    """Start a stack in a session of its own, and wait until all its services run.

    Args:
        arguments: Arguments of the `creditline` command that runs the stack in the foreground.
        directory: State directory of the stack.
        report: Receives the lines that the stack prints until it is up.

    Returns:
        Path of the log that receives its output.

    Raises:
        Unavailable: The stack ended; the message is what it printed last.
        DeadlineExceeded: It was not up in time; it is stopped.
    """
    log = directory.log(_LOG)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "creditline.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    printed = 0
    for _ in RetryPolicy.polling(_POLL_SECONDS, for_seconds=_START_SECONDS).attempts():
        state, ended = directory.read(), process.poll()
        is_up = state is not None and state.supervisor == process.pid
        lines = log.read_text(errors="replace").splitlines()
        if ended is not None:
            raise Unavailable(_failure(lines, ended), service="local")
        for line in lines[printed:]:
            report(line)
        printed = len(lines)
        if is_up:
            return log
    process.terminate()
    raise DeadlineExceeded(f"the local stack was not up after {_START_SECONDS:.0f} s; see {log}")


def stop_stack(directory: StateDirectory) -> None:
    """Stop the stack of a state directory, and wait until all its services have ended.

    Args:
        directory: State directory of the stack.

    Raises:
        NotReady: No stack runs there.
        DeadlineExceeded: It has not ended in time.
    """
    supervisor = directory.supervisor()
    if supervisor is None:
        raise NotReady(
            f"no local stack is running in {directory.path}; name the state directory of one with"
            " --state-directory",
            field="state_directory",
        )
    os.kill(supervisor, signal.SIGTERM)
    for _ in RetryPolicy.polling(_POLL_SECONDS, for_seconds=_STOP_SECONDS).attempts():
        if directory.supervisor() != supervisor:
            return
    raise DeadlineExceeded(
        f"process {supervisor} still runs after {_STOP_SECONDS:.0f} s; see {directory.path / 'logs'}, or end"
        f" it with `kill -9 {supervisor}`, which ends its services too"
    )


def _failure(lines: Sequence[str], status: int) -> str:
    """What a stack that ended printed last: its error, or its last line."""
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    said = "\n".join(lines[errors[-1] :]).removeprefix("error: ") if errors else "\n".join(lines[-1:])
    return said or f"the local stack ended with status {status} and printed nothing"
