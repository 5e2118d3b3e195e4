"""A process between the supervisor and a service: no process is left over, however the supervisor ends.

Run as a script: `python guardian.py SUPERVISOR_PID GRACE_SECONDS COMMAND...`. It starts COMMAND in a process
group of its own, forwards SIGTERM to it, and kills the group when the command has ended or the grace period
is over. The kernel sends the guardian SIGTERM when the supervisor dies (PR_SET_PDEATHSIG), and the service
SIGKILL when the guardian dies. It imports only the standard library, so that it starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_CANNOT_START = 127
_MAX_WAIT_SECONDS = 3_600.0


def die_with_parent(parent: int, death_signal: int) -> None:
    """Let the kernel send this process a signal when its parent ends; exit at once if it has ended already.

    Args:
        parent: process id of the parent.
        death_signal: the signal.

    Raises:
        OSError: The kernel refused the request.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(0)


def start(command: list[str]) -> int:
    """Fork and execute a command as the leader of a new process group; returns its process id."""
    guardian = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
    try:
        die_with_parent(guardian, signal.SIGKILL)
        os.execvp(command[0], command)
    except OSError as failure:
        print(f"cannot start {command[0]}: {failure}", file=sys.stderr, flush=True)
    os._exit(_CANNOT_START)


def guard(pid: int, grace_seconds: float) -> int:
    """Wait until the service has ended, forwarding a signal to stop; returns its exit status.

    Args:
        pid: process id of the service.
        grace_seconds: time between SIGTERM and SIGKILL.
    """
    kill_at: float | None = None
    while True:
        timeout = _MAX_WAIT_SECONDS if kill_at is None else max(0.0, kill_at - time.monotonic())
        received = signal.sigtimedwait(_WATCHED, timeout)
        if received is None and kill_at is not None:
            kill_group(pid)
            kill_at = None
        elif received is not None and received.si_signo != signal.SIGCHLD and kill_at is None:
            os.kill(pid, signal.SIGTERM)
            kill_at = time.monotonic() + grace_seconds
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            kill_group(pid)
            return os.waitstatus_to_exitcode(status)


def kill_group(pid: int) -> None:
    """Kill the remaining processes of the service's process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def main() -> int:
    """Run the service; returns its exit status, or 128 + n if signal n ended it."""
    supervisor, grace_seconds, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    die_with_parent(supervisor, signal.SIGTERM)
    status = guard(start(command), grace_seconds)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
