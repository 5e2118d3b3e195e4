"""The nursery ends with its gateway, whatever it has not said yet."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import asdict

from creditline.gateway.decoding.limits import DecoderLimits

_MOST_PACKET_BYTES = 4096


def test_a_gateway_that_ends_with_messages_unread_ends_the_nursery_without_a_traceback() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        nursery = subprocess.Popen(
            [sys.executable, "-m", "creditline.gateway.decoding.nursery", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    request = json.dumps(
        {"start": asdict(DecoderLimits(cpu_seconds=5.0, memory_mib=200, pixels=1_000_000))}
    ).encode()
    with ours:
        for _ in range(2):
            decoder, its = socket.socketpair()
            with decoder, its:
                socket.send_fds(ours, [request], [its.fileno()])
                assert "started" in json.loads(ours.recv(_MOST_PACKET_BYTES))
        # The ends of both decoders, whose connections are closed, are reported and not read.
        assert ours.recv(_MOST_PACKET_BYTES, socket.MSG_PEEK)
    _, said = nursery.communicate(timeout=30)
    assert (nursery.returncode, said) == (0, b"")
