"""The process that forks decoders: `python -m creditline.gateway.decoding.nursery DESCRIPTOR`.

It has imported all that decoding needs, so a new decoder costs milliseconds and shares that memory. The
gateway itself cannot fork: it runs threads and gRPC. DESCRIPTOR is a sequenced-packet socket to the gateway:
each packet is one JSON object, and one that starts a decoder carries the decoder's connection.

    gateway: {"start": limits}          nursery: {"started": pid}
    gateway: {"kill": pid}              nursery: {"ended": pid, "signal": number, or 0}
    gateway: {"slow": pid, "niceness": number}
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

from PIL import Image

from creditline.gateway.decoding.limits import DecoderLimits
from creditline.gateway.decoding.worker import run

MOST_PACKET_BYTES = 4096
"""Largest packet of the protocol."""


class Nursery:
    """Forks decoders at the gateway's request, and reports their ends. When the gateway ends, all end.

    Args:
        control: Socket to the gateway.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._running: set[int] = set()

    def serve(self) -> None:
        """Serve until the gateway closes its end."""
        woken = self._wake_on_ends()
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._control and not self._serve_request():
                        self._end_all()
                        return
                    if key.fd == woken:
                        os.read(woken, MOST_PACKET_BYTES)
                        self._report_ends()

    def _wake_on_ends(self) -> int:
        """Descriptor that can be read after a child has ended."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        return reading

    def _serve_request(self) -> bool:
        """Serve one request; False at the end of the connection."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._control, MOST_PACKET_BYTES, 1)
        except ConnectionError:
            # The gateway ended with messages unread.
            return False
        if not packet:
            return False
        request: dict[str, Any] = json.loads(packet)
        if "kill" in request:
            self._kill(request["kill"])
        elif "slow" in request:
            self._slow_down(request["slow"], request["niceness"])
        else:
            with socket.socket(fileno=descriptors[0]) as connection:
                self._start(connection, DecoderLimits(**request["start"]))
        return True

    def _start(self, connection: socket.socket, limits: DecoderLimits) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_decoder(connection, limits)
        self._running.add(pid)
        self._send({"started": pid})

    def _become_decoder(self, connection: socket.socket, limits: DecoderLimits) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            run(connection, limits)
            status = 0
        finally:
            # Nothing of the nursery's is finalised here.
            os._exit(status)

    def _kill(self, *pids: int) -> None:
        # Only children that have not been waited for: their numbers cannot belong to others yet.
        for pid in self._running.intersection(pids):
            os.kill(pid, signal.SIGKILL)

    def _end_all(self) -> None:
        self._kill(*self._running)
        for pid in self._running:
            os.waitpid(pid, 0)

    def _slow_down(self, pid: int, niceness: int) -> None:
        if pid in self._running:
            os.setpriority(os.PRIO_PROCESS, pid, niceness)

    def _report_ends(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._running.discard(pid)
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            self._send({"ended": pid, "signal": number})

    def _send(self, message: dict[str, int]) -> None:
        # A gateway that has ended is noticed where requests are read.
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(message).encode())


def main() -> int:
    """Serve until the gateway ends.

    Returns:
        The exit status, 0.
    """
    # Stop signals of a terminal reach the whole process group; the gateway decides when decoders end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    Image.init()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Nursery(control).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
