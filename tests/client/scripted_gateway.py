"""A gRPC server that answers as a script says, for what a real gateway does only in need."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from creditline.api.error_metadata import STATUS_KEY, error_metadata, status_details
from creditline.errors import CreditlineError
from creditline.v1 import release_pb2, release_pb2_grpc, withdrawal_pb2, withdrawal_pb2_grpc

RELEASE = "scripted"
_WITHDRAWALS = 7
_PAGE = 3


@dataclass(frozen=True)
class Step:
    """What happens to one call: it waits, and then fails or is answered."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    error: CreditlineError | None = None
    """The error that the gateway would have raised; None for a failure outside its code."""
    retry_after_seconds: float | None = None
    seconds: float = 0.0


@dataclass
class Script:
    """The steps of calls to come, and what was seen of those that came."""

    steps: list[Step] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> Step:
        """The next step; an answer at once when the script is over."""
        with self.lock:
            self.times.append(time.monotonic())
            return self.steps.pop(0) if self.steps else Step()


class _Releases(release_pb2_grpc.ReleasesServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    def GetRelease(self, request: Any, context: Any) -> release_pb2.GetReleaseResponse:  # noqa: N802
        step = self._script.begin()
        over = threading.Event()
        context.add_callback(over.set)
        if over.wait(step.seconds):
            self._script.cancelled.set()
        if step.code is not grpc.StatusCode.OK:
            if step.error is not None:
                context.set_trailing_metadata(_metadata(step))
            context.abort(step.code, "as the script says")
        return release_pb2.GetReleaseResponse(release=release_pb2.Release(name=RELEASE))


def _metadata(step: Step) -> tuple[tuple[str, str | bytes], ...]:
    assert step.error is not None
    details = status_details(
        step.error, step.code.value[0], request_id="r", retry_after_seconds=step.retry_after_seconds
    )
    return (*error_metadata(step.error), (STATUS_KEY, details))


class _Withdrawals(withdrawal_pb2_grpc.WithdrawalsServicer):
    def ListWithdrawals(self, request: Any, context: Any) -> Any:  # noqa: N802
        rows = range(request.after + 1, min(request.after + _PAGE, _WITHDRAWALS) + 1)
        return withdrawal_pb2.ListWithdrawalsResponse(
            withdrawals=[
                withdrawal_pb2.Withdrawal(
                    sequence=row, kind=withdrawal_pb2.WITHDRAWAL_KIND_WORK, subject=f"work-{row}"
                )
                for row in rows
            ]
        )


@contextmanager
def scripted_gateway(*steps: Step) -> Iterator[tuple[str, Script]]:
    """A server with a script: its address, and the script."""
    script = Script(list(steps))
    server = grpc.server(ThreadPoolExecutor(8))
    release_pb2_grpc.add_ReleasesServicer_to_server(_Releases(script), server)
    withdrawal_pb2_grpc.add_WithdrawalsServicer_to_server(_Withdrawals(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", script
    finally:
        server.stop(None).wait()
