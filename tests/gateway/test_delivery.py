"""Callers that leave before their answer: it is computed no further, not recorded, or marked."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import create_engine, select

from creditline.gateway.use_cases.calls.recording import Recording
from creditline.ledger import Ledger
from creditline.ledger.tables import attributions, undelivered
from creditline.v1 import attribution_pb2
from creditline.v1.attribution_pb2_grpc import AttributionStub
from tests.gateway.conftest import GENERATOR
from tests.gateway.served import Served
from tests.ledger.database.test_threads import write_lock
from tests.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_Leave = Callable[[Served, str, Callable[[], None]], None]


def _leave_grpc(served: Served, prompt: str, until: Callable[[], None]) -> None:
    """Ask over gRPC, and cancel the call after `until`."""
    request = attribution_pb2.AttributeRequest(
        image=served.corpus.works[0].thumbnail, prompt=prompt, generator=GENERATOR, request_id=prompt
    )
    with grpc.insecure_channel(served.gateway.target) as channel:
        call = AttributionStub(channel).Attribute.future(request, timeout=60)
        until()
        assert not call.done()
        call.cancel()


def _leave_http(served: Served, prompt: str, until: Callable[[], None]) -> None:
    """Ask over HTTP, and close the connection after `until`."""
    image = base64.b64encode(served.corpus.works[0].thumbnail).decode()
    body = json.dumps({"image": image, "prompt": prompt, "generator": GENERATOR}).encode()
    host, port = served.gateway.url.removeprefix("http://").split(":")
    head = (
        "POST /v1/attributions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {prompt}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        until()


def _rows(served: Served, prompt: str) -> list[bool]:
    """Whether each row with this prompt is marked as undelivered."""
    engine = create_engine(served.settings.ledger_url)
    marked = attributions.outerjoin(undelivered)
    query = select(undelivered.c.attribution_id, undelivered.c.delivered_later)
    with engine.connect() as connection:
        rows = connection.execute(query.select_from(marked).where(attributions.c.prompt == prompt)).all()
    engine.dispose()
    return [row.attribution_id is not None and row.delivered_later is None for row in rows]


def _in_flight(served: Served) -> float:
    with served.gateway.http() as http:
        lines = http.get("/metrics").text.splitlines()
    name = 'creditline_gateway_admission_in_flight{gate="ordinary"} '
    return float(next(line for line in lines if line.startswith(name)).removeprefix(name))


@contextmanager
def _late_return(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Have the ledger return late from a committed write; yields "committed" and "may return"."""
    committed, may_return = threading.Event(), threading.Event()
    record = Ledger.record_attribution

    def slow(self: Ledger, **values: Any) -> str:
        recorded = record(self, **values)
        committed.set()
        assert may_return.wait(30)
        return recorded

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record_attribution", slow)
        yield committed, may_return
        may_return.set()


@pytest.mark.parametrize("leave", [_leave_grpc, _leave_http])
def test_an_answer_whose_caller_left_before_it_was_committed_is_not_recorded(
    served: Served, leave: _Leave
) -> None:
    prompt, path = f"left-early-{leave.__name__}", Path(served.settings.ledger_url.removeprefix("sqlite:///"))
    with write_lock(path):
        leave(served, prompt, lambda: time.sleep(1.0))
        wait_until(lambda: _in_flight(served) == 0, "the gateway noticed")
    with served.ledger() as ledger:
        ledger.threads.close()
    assert _rows(served, prompt) == []


@pytest.mark.parametrize("leave", [_leave_grpc, _leave_http])
def test_an_answer_that_was_committed_when_its_caller_left_is_marked_and_a_repeat_gets_it(
    served: Served, leave: _Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = f"left-late-{leave.__name__}"
    with _late_return(monkeypatch) as (committed, may_return):
        leave(served, prompt, lambda: None if committed.wait(60) else pytest.fail("not recorded"))
        wait_until(lambda: _in_flight(served) == 0, "the gateway noticed")
        may_return.set()
        wait_until(lambda: _rows(served, prompt) == [True], "the answer is marked")
    with served.ledger() as ledger:
        assert ledger.verify_chain().intact
    with grpc.insecure_channel(served.gateway.target) as channel:
        request = attribution_pb2.AttributeRequest(
            image=served.corpus.works[0].thumbnail, prompt=prompt, generator=GENERATOR, request_id=prompt
        )
        AttributionStub(channel).Attribute(request, timeout=60)
    wait_until(lambda: _rows(served, prompt) == [False], "the mark is lifted")


def test_an_answer_that_is_delivered_is_not_marked_over_both_faces(served: Served) -> None:
    work = served.corpus.works[1]
    with served.gateway.client() as client, served.gateway.http() as http:
        client.attribute(work.thumbnail, prompt="delivered", generator=GENERATOR)
        files, data = {"image": ("q", work.thumbnail)}, {"prompt": "delivered", "generator": GENERATOR}
        assert http.post("/v1/attributions", files=files, data=data).status_code == 200
    assert _rows(served, "delivered") == [False, False]


def test_an_error_after_the_commit_counts_as_not_delivered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Recording.run

    async def failing(self: Recording, *values: Any) -> Any:
        await run(self, *values)
        raise RuntimeError("after the commit")

    with monkeypatch.context() as patch, served.gateway.http() as http:
        patch.setattr(Recording, "run", failing)
        work = served.corpus.works[1]
        answer = http.post(
            "/v1/attributions", files={"image": ("q", work.thumbnail)}, data={"prompt": "failed afterwards"}
        )
        assert answer.status_code == 500
    wait_until(lambda: _rows(served, "failed afterwards") == [True], "the answer is marked")
