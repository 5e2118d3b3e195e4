"""What callers without a key can take from a gateway: its memory, and series of its metrics.

Run `python -m tests.benchmarks.load.keyless` (about a minute). With the path of another checkout's source
root as argument it measures the gateway there, and writes nothing.
"""

from __future__ import annotations

import contextlib
import random
import socket
import string
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from tests.benchmarks.load.gateway_process import GatewayProcess, gateway_process
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make load"
SEED = 0
CALLS, CALL_BYTES, REQUESTS, ROUNDS = 32, 60_000_000, 5_000, 3
_METHOD = "/creditline.v1.Attribution/Attribute"
_PART = bytes(1 << 16)
_SECONDS = 60
_ROUTES = (
    "/v1/attributions",
    "/v1/works/x",
    "/v1/releases/live",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
)
_HEADERS = (
    "X-Request-Id",
    "Authorization",
    "Content-Type",
    "Accept",
    "Upgrade",
    "X-HTTP-Method-Override",
    "X-Forwarded-For",
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE")


def call_over_grpc(gateway: GatewayProcess, size: int = CALL_BYTES) -> str:
    """Send one message without a key; the call's status."""
    # A connection of its own for each caller.
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(gateway.target, options=options) as channel:
        try:
            channel.unary_unary(_METHOD)(bytes(size), timeout=_SECONDS)
        except grpc.RpcError as failure:
            return str(failure.code().name)
    return "OK"


def call_over_http(gateway: GatewayProcess, size: int = CALL_BYTES, *, chunked: bool = False) -> str:
    """Send one body without a key, its length stated or in chunks; the status of the answer."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    part = b"%x\r\n%s\r\n" % (len(_PART), _PART) if chunked else _PART
    head = (
        b"POST /v1/attributions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n%s"
        b"\r\n\r\n" % framing
    )
    address = ("127.0.0.1", gateway.ports.gateway_http)
    answer = b""
    with socket.create_connection(address, timeout=_SECONDS) as connection:
        connection.sendall(head)
        # The gateway may end the connection: what it had answered is read below.
        with contextlib.suppress(ConnectionError):
            for _ in range(size // len(_PART)):
                connection.sendall(part)
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(1 << 16)
    return answer.split(b" ", 2)[1].decode() if answer else "reset"


def growth_mib(gateway: GatewayProcess, call: Callable[[int], str]) -> tuple[float, list[str]]:
    """Peak memory of the gateway in concurrent calls over its memory before, in MiB; their statuses."""
    gateway.forget_peak()
    before = gateway.resident_mib()
    with ThreadPoolExecutor(CALLS) as callers:
        statuses = list(callers.map(call, range(CALLS)))
    time.sleep(1)
    return gateway.peak_mib() - before, statuses


def hostile_requests(count: int, seed: int = SEED) -> Iterator[bytes]:
    """Whole HTTP requests without a key: made-up methods, paths and headers, and some that are no HTTP."""
    dice = random.Random(seed)
    for number in range(count):
        if number % 50 == 0:
            yield dice.randbytes(40).replace(b"\n", b"") + b"\r\n\r\n"
            continue
        method = dice.choice(_METHODS) if dice.random() < 0.5 else _word(dice).upper()
        path = (
            dice.choice(_ROUTES) if dice.random() < 0.5 else f"/{_word(dice)}/{_word(dice)}?{_word(dice)}=1"
        )
        body = _word(dice).encode() * dice.randrange(3)
        name = dice.choice(_HEADERS) if dice.random() < 0.7 else _word(dice)
        yield (
            f"{method} {path} HTTP/1.1\r\nHost: {_word(dice)}\r\n{name}: {_word(dice)}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


def _word(dice: random.Random) -> str:
    return "".join(dice.choices(string.ascii_letters + string.digits, k=dice.randint(1, 12)))


def send_hostile(gateway: GatewayProcess, count: int = REQUESTS) -> dict[str, int]:
    """Send hostile requests of both faces, one after another; how often each status came."""
    statuses: dict[str, int] = {}
    address = ("127.0.0.1", gateway.ports.gateway_http)
    for request in hostile_requests(count * 4 // 5):
        status = _exchange(address, request)
        statuses[status] = statuses.get(status, 0) + 1
    for status in _hostile_calls(gateway, count - count * 4 // 5):
        statuses[status] = statuses.get(status, 0) + 1
    return statuses


def _exchange(address: tuple[str, int], request: bytes) -> str:
    with socket.create_connection(address, timeout=_SECONDS) as connection:
        connection.sendall(request)
        with contextlib.suppress(ConnectionError):
            return connection.recv(1 << 16).split(b" ", 2)[1].decode()
    return "reset"


def _hostile_calls(gateway: GatewayProcess, count: int) -> Iterator[str]:
    dice = random.Random(SEED)
    with grpc.insecure_channel(gateway.target) as channel:
        for number in range(count):
            method = _METHOD if number % 2 else f"/creditline.v1.{_word(dice)}/{_word(dice)}"
            metadata = ((_word(dice).lower(), _word(dice)), ("authorization", f"Bearer {_word(dice)}"))
            try:
                channel.unary_unary(method)(dice.randbytes(30), timeout=_SECONDS, metadata=metadata)
                yield "OK"
            except grpc.RpcError as failure:
                yield str(failure.code().name)


def measure(services: Path | None = None) -> dict[str, Any]:
    """Growth of memory by keyless calls of each kind, and new series by hostile requests."""
    kinds: dict[str, Callable[[GatewayProcess], str]] = {
        "grpc": call_over_grpc,
        "http": call_over_http,
        "http, chunked": lambda gateway: call_over_http(gateway, chunked=True),
    }
    growths: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        started = gateway_process(Path(name)) if services is None else gateway_process(Path(name), services)
        with started as gateway:
            for run in range(ROUNDS):
                for kind, call in kinds.items():
                    grown, statuses = growth_mib(gateway, lambda _, call=call: call(gateway))
                    growths.append(
                        {"kind": kind, "run": run, "mib": round(grown, 1), "statuses": _counted(statuses)}
                    )
            before = gateway.series()
            statuses_of_hostile = send_hostile(gateway)
            new = sorted(gateway.series() - before)
    return {"growths": growths, "new_series": len(new), "examples": new[:5], "statuses": statuses_of_hostile}


def _counted(statuses: list[str]) -> dict[str, int]:
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def main() -> None:
    services = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    measured = measure(services)
    for row in measured["growths"]:
        print(f"{row['kind']}, run {row['run']}: {row['mib']} MiB, {row['statuses']}")
    print(f"{measured['new_series']} new series {measured['examples']} by {measured['statuses']}")
    if services is not None:
        return
    grown = [row["mib"] for row in measured["growths"]]
    figures = {
        "keyless_mib": Figure(
            max(grown),
            unit="MiB",
            low=min(grown),
            high=max(grown),
            target="<= 20",
            what=f"largest growth of the gateway's memory in {len(grown)} runs of {CALLS} keyless calls of"
            " 60 MB at once, over gRPC and HTTP",
        ),
        "series_growth": Figure(
            measured["new_series"],
            target="== 0",
            what=f"new metric series by {REQUESTS:,} hostile requests without a key (a count, exact)",
        ),
    }
    rows = [
        *({"part": "keyless", **row} for row in measured["growths"]),
        {"part": "keyless", "kind": "hostile requests", "statuses": measured["statuses"]},
    ]
    write_result("load", COMMAND, SEED, figures, rows, merge=True)


if __name__ == "__main__":
    main()
