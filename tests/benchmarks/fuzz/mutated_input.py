"""Pictures, messages and requests with random changes, each sent to a whole stack that can answer.

Run `python -m tests.benchmarks.fuzz.mutated_input` (ten minutes).
"""

from __future__ import annotations

import io
import json
import random
import sys
import tempfile
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from creditline.corpus.openclipart import embedded_corpus
from creditline.v1 import (
    attribution_pb2,
    audit_pb2,
    catalog_pb2,
    contributor_pb2,
    release_pb2,
    withdrawal_pb2,
)
from tests.benchmarks.fuzz.http_answers import CUT, NO_ANSWER, send_bytes
from tests.benchmarks.fuzz.mutation import mutated
from tests.benchmarks.fuzz.stack import GENERATOR, AnsweringStack, answering_stack
from tests.benchmarks.load.gateway_process import API_KEY, GatewayProcess
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make fuzz"
SEED, CASES = 0, 2_100
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_SIDE_PIXELS = 64
_SENDERS = 8
_CALL_SECONDS = 60.0
_KEY = ("authorization", f"Bearer {API_KEY}")
_ATTRIBUTE = "/creditline.v1.Attribution/Attribute"
_SERVER_ERRORS = {"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNKNOWN"}
_FILES = (attribution_pb2, audit_pb2, catalog_pb2, contributor_pb2, release_pb2, withdrawal_pb2)


def pictures(count: int, seed: int = SEED) -> Iterator[bytes]:
    """Ordinary pictures in all formats, with random changes."""
    dice = random.Random(seed)
    corpus = embedded_corpus()
    works = [next(iter(corpus)), *list(corpus)[100::1000]]
    files = [_encoded(work.picture(), kind) for work in works for kind in _FORMATS]
    for _ in range(count):
        yield mutated(dice.choice(files), dice)


def _encoded(picture: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").resize((_SIDE_PIXELS, _SIDE_PIXELS)).save(buffer, format=kind)
    return buffer.getvalue()


def messages(work_id: str, count: int, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """Method and message of calls of all methods, with random changes of the message."""
    dice = random.Random(seed)
    ordinary = list(_ordinary_messages(work_id))
    for _ in range(count):
        method, message = dice.choice(ordinary)
        yield method, mutated(message, dice)


def _ordinary_messages(work_id: str) -> Iterator[tuple[str, bytes]]:
    filled = {
        "Attribute": attribution_pb2.AttributeRequest(
            image=_encoded(next(iter(embedded_corpus())).picture(), "PNG"),
            prompt="a red ladybug",
            generator=GENERATOR,
            k=5,
            filter=attribution_pb2.WorkFilter(licences=["PD"], consent=["training=allowed"]),
            form=attribution_pb2.ANSWER_FORM_RERANKED,
        ),
        "GetAttribution": attribution_pb2.GetAttributionRequest(id="0" * 32),
        "GetWork": catalog_pb2.GetWorkRequest(id=work_id),
        "SubmitAudit": audit_pb2.SubmitAuditRequest(attribution_id="0" * 32),
        "GetAudit": audit_pb2.GetAuditRequest(id="0" * 32),
        "GetRelease": release_pb2.GetReleaseRequest(name="live"),
        "Withdraw": withdrawal_pb2.WithdrawRequest(kind=2, subject="nobody", reason="a", requested_by="b"),
        "Revoke": withdrawal_pb2.RevokeRequest(kind=1, subject="nothing", reason="a", requested_by="b"),
        "ListWithdrawals": withdrawal_pb2.ListWithdrawalsRequest(history=True, after=1, limit=7),
    }
    for service in _services():
        for method in service.methods:
            empty: Message = getattr(_module(service), method.input_type.name)()
            message = filled.get(method.name, empty).SerializeToString()
            yield f"/{service.full_name}/{method.name}", message or b"\x0a\x01a\x12\x03\x0a\x01b"


def _services() -> Iterator[ServiceDescriptor]:
    for module in _FILES:
        yield from module.DESCRIPTOR.services_by_name.values()


def _module(service: ServiceDescriptor) -> Any:
    return next(module for module in _FILES if service.name in module.DESCRIPTOR.services_by_name)


def requests(work_id: str, count: int, seed: int = SEED) -> Iterator[bytes]:
    """Ordinary HTTP requests of all routes as bytes, with random changes."""
    dice = random.Random(seed)
    ordinary = list(_ordinary_requests(work_id))
    for _ in range(count):
        yield mutated(dice.choice(ordinary), dice)


def _ordinary_requests(work_id: str) -> Iterator[bytes]:
    paths = (
        f"/v1/works/{work_id}",
        f"/v1/works/{work_id}/thumbnail",
        "/v1/releases/live",
        f"/v1/audits/{'0' * 32}",
        f"/v1/attributions/{'0' * 32}",
        "/v1/withdrawals?history=true&after=0&limit=5",
        "/v1/contributors/merges?limit=5",
        "/readyz",
        "/openapi.json",
    )
    for path in paths:
        yield _request("GET", path, b"", "")
    picture = _encoded(next(iter(embedded_corpus())).picture(), "PNG")
    bodies: dict[str, dict[str, Any]] = {
        "/v1/attributions": {"image": b64encode(picture).decode(), "prompt": "a red ladybug", "k": 3},
        "/v1/audits": {"attribution_id": "0" * 32},
        "/v1/withdrawals": {"kind": "WORK", "subject": "nothing", "action": "REVOKED"},
        "/v1/contributors/merges": {"person": {"name": "a"}, "other": {"name": "b"}, "action": "REVOKED"},
    }
    for path, body in bodies.items():
        yield _request("POST", path, json.dumps(body).encode(), "application/json")
    parts = {"prompt": b"a red ladybug", "k": b"3", 'image"; filename="q': picture}
    form = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts.items()
    )
    yield _request("POST", "/v1/attributions", form + b"--x--\r\n", "multipart/form-data; boundary=x")


def _request(method: str, path: str, body: bytes, media_type: str) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\nConnection: close\r\n"
    if body:
        head += f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def send_picture(gateway: GatewayProcess, number: int, picture: bytes) -> str:
    """Attribute a picture over one of the faces; the status."""
    if number % 2:
        request = attribution_pb2.AttributeRequest(image=picture, prompt="a red ladybug", generator=GENERATOR)
        return send_message(gateway, _ATTRIBUTE, request.SerializeToString())
    body = json.dumps({"image": b64encode(picture).decode(), "prompt": "a red ladybug"}).encode()
    request_bytes = _request("POST", "/v1/attributions", body, "application/json")
    return send_request(gateway, request_bytes)


def send_message(gateway: GatewayProcess, method: str, message: bytes) -> str:
    """Call a method with these bytes; the status."""
    with grpc.insecure_channel(gateway.target) as channel:
        try:
            channel.unary_unary(method)(message, timeout=_CALL_SECONDS, metadata=(_KEY,))
        except grpc.RpcError as failure:
            return str(failure.code().name)
    return "OK"


def send_request(gateway: GatewayProcess, request: bytes) -> str:
    """Send these bytes as an HTTP request; the status, or how the connection ended without one."""
    return send_bytes(("127.0.0.1", gateway.ports.gateway_http), request, seconds=_CALL_SECONDS)


def statuses(send: Callable[[int], str], count: int) -> Counter[str]:
    """How often each status came, of `count` cases that several senders send."""
    with ThreadPoolExecutor(_SENDERS) as senders:
        return Counter(senders.map(send, range(count)))


def fuzz(stack: AnsweringStack, cases: int = CASES, seed: int = SEED) -> dict[str, Counter[str]]:
    """Statuses by kind of input."""
    gateway = stack.gateway
    changed_pictures = list(pictures(cases, seed))
    changed_messages = list(messages(stack.work_id, cases, seed))
    changed_requests = list(requests(stack.work_id, cases, seed))
    return {
        "pictures": statuses(lambda each: send_picture(gateway, each, changed_pictures[each]), cases),
        "messages": statuses(lambda each: send_message(gateway, *changed_messages[each]), cases),
        "requests": statuses(lambda each: send_request(gateway, changed_requests[each]), cases),
    }


def server_errors(found: Sequence[Counter[str]]) -> int:
    """Number of answers that blame the server."""
    return sum(
        count
        for counter in found
        for status, count in counter.items()
        if status in _SERVER_ERRORS or status.startswith("5")
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name, answering_stack(Path(name)) as stack:
        found = fuzz(stack)
        deaths = stack.deaths()
        logged = stack.log.read_text()
    for kind, counter in found.items():
        print(kind, dict(counter))
    if "Traceback" in logged:
        print(logged[logged.index("Traceback") :][:4_000], file=sys.stderr)
    counted = {
        kind: Figure(counter.total(), target=">= 2000", what=f"{kind} with random changes (a count, exact)")
        for kind, counter in found.items()
    }
    unanswered = sum(each[NO_ANSWER] + each[CUT] for each in found.values())
    errors, unknown = server_errors([*found.values()]), sum(each["UNKNOWN"] for each in found.values())
    figures = {
        **counted,
        "server_errors": Figure(errors, target="== 0", what="answers of 5xx or INTERNAL (a count, exact)"),
        "unanswered": Figure(
            unanswered,
            target="== 0",
            what="of all these, without an answer: neither one nor 408 where more was awaited, nor an idle"
            " connection's end (a count, exact)",
        ),
        "deaths": Figure(deaths, target="== 0", what="processes that ended (a count, exact)"),
        "unknown_codes": Figure(unknown, target="== 0", what="calls that ended UNKNOWN (a count, exact)"),
    }
    rows = [
        {"part": "mutated", "kind": kind, "statuses": dict(sorted(counter.items()))}
        for kind, counter in found.items()
    ]
    write_result("api-fuzz", COMMAND, SEED, figures, rows, merge=True)


if __name__ == "__main__":
    main()
