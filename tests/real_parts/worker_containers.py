"""Processes as in worker containers: each has process id 1 in its own PID namespace."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_OWN_NUMBERS = ("--pid", "--fork", "--kill-child", "--")
# As root, or where ordinary users may create user namespaces.
_WAYS = (("unshare", *_OWN_NUMBERS), ("unshare", "--user", "--map-root-user", *_OWN_NUMBERS))


@dataclass(frozen=True)
class WorkerContainers:
    """Starts Python programs side by side.

    prefix: put before each command line; empty where namespaces are forbidden.
    """

    prefix: tuple[str, ...]

    @property
    def share_numbers(self) -> bool:
        """Whether all processes have the same process id."""
        return bool(self.prefix)

    def run(self, programs: Sequence[Sequence[str]], *, seconds: float = 120.0) -> list[str]:
        """Run Python with each list of arguments, all at once, and return what each printed.

        Args:
            programs: arguments of `python`, one list for each container.
            seconds: the limit for all of them together.

        Fails with its standard error when one of them does not end with 0.
        """
        started = [
            subprocess.Popen(
                [*self.prefix, sys.executable, *program],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for program in programs
        ]
        try:
            printed = [process.communicate(timeout=seconds) for process in started]
        finally:
            for process in started:
                process.kill()
        for process, (_, errors) in zip(started, printed, strict=True):
            assert process.returncode == 0, errors
        return [output for output, _ in printed]


def worker_containers() -> WorkerContainers:
    """Containers with separate PID namespaces, or plain processes where those are forbidden."""
    if shutil.which("unshare"):
        for way in _WAYS:
            tried = subprocess.run([*way, "true"], capture_output=True, check=False)
            if tried.returncode == 0:
                return WorkerContainers(way)
    return WorkerContainers(())
