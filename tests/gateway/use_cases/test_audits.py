"""Audits through the gateway: queued without a broker, published once there is one, shown when done."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from creditline.api.answers import AuditedWork, Estimate, Verdict
from creditline.errors import DeadlineExceeded, InvalidInput, NotFound
from creditline.ledger import Ledger
from creditline.local.health import redis_answers
from creditline.local.services import StackPorts, redis_executable
from creditline.local.stack import LocalStack
from creditline.release import Release
from tests.gateway.conftest import RunningGateway, gateway_settings, running_gateway
from tests.ledger.conftest import record

_VERDICT = Verdict(
    query_rise=1.2,
    recall=Estimate(0.6, 0.5, 0.7),
    missed_influence=Estimate(0.3, 0.2, 0.4),
    ndcg=Estimate(0.8, 0.7, 0.9),
    rank_correlation=Estimate(0.5, 0.4, 0.6),
    listed_works=10,
    sampled_works=50,
    seconds=12.5,
    works=(AuditedWork("w1", 0.5, True), AuditedWork("w2", -0.1, False)),
)


def _served(gateway: RunningGateway, release: Release) -> str:
    """An attribution in the gateway's ledger."""
    with Ledger.open(gateway.settings.ledger_url) as ledger:
        return record(ledger, release=release.name)


def _wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "it did not happen within 20 s"
        time.sleep(0.05)


def test_an_audit_is_queued_although_redis_is_down_and_asking_again_gives_the_same(
    lonely_gateway: RunningGateway, release: Release
) -> None:
    attribution_id = _served(lonely_gateway, release)
    with lonely_gateway.client() as client, lonely_gateway.http() as http:
        audit = client.submit_audit(attribution_id)
        again = http.post("/v1/audits", json={"attribution_id": attribution_id})
        assert client.audit(audit.id) == audit
    assert (audit.state, audit.attribution_id, audit.verdict) == ("QUEUED", attribution_id, None)
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (202, audit.id, "QUEUED")
    with Ledger.open(lonely_gateway.settings.ledger_url) as ledger:
        assert audit.id in {entry.audit_id for entry in ledger.unpublished(100)}


def test_a_job_that_waited_for_redis_is_published_when_redis_comes(tmp_path: Path, release: Release) -> None:
    port = StackPorts.free().redis
    broker_url = f"redis://127.0.0.1:{port}/0"
    settings = gateway_settings(tmp_path, release, broker_url=broker_url)
    with running_gateway(settings) as gateway, gateway.client() as client:
        audit = client.submit_audit(_served(gateway, release))
        assert audit.state == "QUEUED"
        with _redis_at(port, tmp_path), redis.Redis.from_url(broker_url) as queue:
            _wait_until(lambda: queue.ping() and queue.llen("celery") == 1)
            (message,) = queue.lrange("celery", 0, -1)
    assert audit.id.encode() in message


@contextmanager
def _redis_at(port: int, directory: Path) -> Iterator[None]:
    command = [redis_executable(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)]
    process = subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)
    try:
        _wait_until(lambda: redis_answers("127.0.0.1", port))
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_a_queued_audit_is_published_once_under_its_own_id(tmp_path: Path, release: Release) -> None:
    with LocalStack(state_directory=tmp_path / "stack", services=("redis",)) as stack:
        settings = gateway_settings(tmp_path, release, broker_url=stack.broker_url)
        queue = redis.Redis.from_url(stack.broker_url)
        with running_gateway(settings) as gateway, gateway.client() as client:
            attribution_id = _served(gateway, release)
            audit = client.submit_audit(attribution_id)
            client.submit_audit(attribution_id)
            _wait_until(lambda: queue.llen("celery") > 0)
            with Ledger.open(settings.ledger_url) as ledger:
                _wait_until(lambda: not ledger.unpublished(10))
        (message,) = queue.lrange("celery", 0, -1)
    assert audit.id.encode() in message
    assert b'"task": "creditline.audit"' in message
    assert b"application/json" in message


def test_a_finished_audit_shows_its_verdict_and_the_release_its_accuracy(
    tmp_path: Path, release: Release
) -> None:
    with running_gateway(gateway_settings(tmp_path, release)) as gateway, gateway.client() as client:
        audit = client.submit_audit(_served(gateway, release))
        with Ledger.open(gateway.settings.ledger_url) as ledger:
            ledger.finish_audit(audit.id, _VERDICT)
        done = client.wait_for_audit(audit.id, timeout_seconds=5)
        accuracy = client.release().accuracy
        with gateway.http() as http:
            body = http.get(f"/v1/audits/{audit.id}").json()
    assert (done.state, done.verdict) == ("DONE", _VERDICT)
    assert done.finished is not None
    assert (accuracy.audits, accuracy.recall, accuracy.missed_influence) == (1, 0.6, 0.3)
    assert body["verdict"]["recall"] == {"value": 0.6, "low": 0.5, "high": 0.7}


def test_a_failed_audit_shows_its_reason(tmp_path: Path, release: Release) -> None:
    with running_gateway(gateway_settings(tmp_path, release)) as gateway, gateway.client() as client:
        audit = client.submit_audit(_served(gateway, release))
        with Ledger.open(gateway.settings.ledger_url) as ledger:
            ledger.fail_audit(audit.id, "there is no generator; assemble one")
        failed = client.wait_for_audit(audit.id, timeout_seconds=5)
    assert (failed.state, failed.error) == ("FAILED", "there is no generator; assemble one")


def test_waiting_for_an_audit_that_no_worker_runs_ends_in_time(
    lonely_gateway: RunningGateway, release: Release
) -> None:
    with lonely_gateway.client() as client:
        audit = client.submit_audit(_served(lonely_gateway, release))
        with pytest.raises(DeadlineExceeded, match="still QUEUED"):
            client.wait_for_audit(audit.id, timeout_seconds=0.3, poll_seconds=0.1)


@pytest.mark.parametrize(("given", "kind"), [("not-an-id", InvalidInput), ("0" * 32, NotFound)])
def test_an_unknown_attribution_or_audit_is_refused_by_field(
    lonely_gateway: RunningGateway, given: str, kind: type[InvalidInput | NotFound]
) -> None:
    with lonely_gateway.client() as client:
        with pytest.raises(kind) as refused:
            client.submit_audit(given)
        assert refused.value.field == "attribution_id"
        with pytest.raises(kind) as refused:
            client.audit(given)
        assert refused.value.field == "id"
