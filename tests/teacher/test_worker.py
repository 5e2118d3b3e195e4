"""The worker as a process: jobs by name over a real Redis, health, metrics, redelivery, a graceful stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import torch
from celery.result import AsyncResult

from creditline.api.audits import verdict_from_json
from creditline.ledger import Audit, AuditState, Ledger
from creditline.local.processes import ServiceProcess
from creditline.local.services import StackPorts
from creditline.teacher.settings import TeacherSettings
from creditline.teacher.worker import AuditWorker
from tests.real_parts.certificates import CertificateAuthority
from tests.teacher.conftest import Prepared, Services, record, start_process, worker_plan

pytestmark = pytest.mark.slow

_PATIENCE_SECONDS = 120.0
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def shared_ledger(services: Services) -> Iterator[Ledger]:
    with Ledger.open(services.ledger_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def worker(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    process = start_process(worker_plan(services), tmp_path_factory.mktemp("logs") / "teacher.log")
    yield process
    process.stop()


def _submit(services: Services, attribution_id: str) -> AsyncResult:
    return services.client().send_task("creditline.audit", kwargs={"attribution_id": attribution_id})


def _read(url: str) -> tuple[int, str]:
    try:
        with _DIRECTLY.open(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not in {_PATIENCE_SECONDS:.0f} s: {what}"
        time.sleep(0.01)


def _audit(ledger: Ledger, attribution_id: str) -> Audit:
    return ledger.submit_audit(attribution_id, publish=False)


def _sample(services: Services, line: str) -> float:
    text = _read(f"{services.metrics_url}/metrics")[1]
    return next(float(found.rsplit(" ", 1)[1]) for found in text.splitlines() if found.startswith(line))


def test_an_audit_is_submitted_by_name_knowing_only_the_brokers_address(
    worker: ServiceProcess, services: Services, shared_ledger: Ledger, prepared: Prepared, query_png: bytes
) -> None:
    attribution_id = record(shared_ledger, prepared, query_png)
    verdict = _submit(services, attribution_id).get(timeout=_PATIENCE_SECONDS)
    audit = _audit(shared_ledger, attribution_id)
    assert audit.state is AuditState.DONE
    assert audit.verdict == verdict_from_json(verdict)
    assert verdict["listed_works"] == 5
    assert 0.0 <= verdict["recall"]["value"] <= 1.0


def test_a_job_that_is_delivered_again_gives_the_same_verdict_and_is_not_run_again(
    worker: ServiceProcess, services: Services, shared_ledger: Ledger, prepared: Prepared, query_png: bytes
) -> None:
    attribution_id = record(shared_ledger, prepared, query_png)
    first = _submit(services, attribution_id).get(timeout=_PATIENCE_SECONDS)
    passes = _sample(services, "creditline_teacher_passes_total")
    finished = _audit(shared_ledger, attribution_id).finished
    assert _submit(services, attribution_id).get(timeout=_PATIENCE_SECONDS) == first
    assert _sample(services, "creditline_teacher_passes_total") == passes
    assert _audit(shared_ledger, attribution_id).finished == finished


def test_an_audit_whose_worker_died_is_taken_over_when_its_lease_expires(
    worker: ServiceProcess, services: Services, shared_ledger: Ledger, prepared: Prepared, query_png: bytes
) -> None:
    attribution_id = record(shared_ledger, prepared, query_png)
    audit = _audit(shared_ledger, attribution_id)
    assert shared_ledger.acquire_audit(audit.id, "a worker that was killed", 1.0)
    verdict = _submit(services, attribution_id).get(timeout=_PATIENCE_SECONDS)
    taken = _audit(shared_ledger, attribution_id)
    assert taken.verdict == verdict_from_json(verdict)
    assert taken.worker != "a worker that was killed"


def test_an_unknown_attribution_fails_the_job_by_its_id_and_the_worker_goes_on(
    worker: ServiceProcess, services: Services, shared_ledger: Ledger, prepared: Prepared, query_png: bytes
) -> None:
    with pytest.raises(Exception, match="no attribution 'nobody'"):
        _submit(services, "nobody").get(timeout=_PATIENCE_SECONDS)
    known = record(shared_ledger, prepared, query_png)
    assert _submit(services, known).get(timeout=_PATIENCE_SECONDS)["sampled_works"] == 12


def test_a_failed_audit_fails_the_job_and_names_the_remedy(
    worker: ServiceProcess, services: Services, shared_ledger: Ledger, prepared: Prepared, query_png: bytes
) -> None:
    attribution_id = record(shared_ledger, prepared, query_png, generator="f" * 64)
    with pytest.raises(Exception, match="CREDITLINE_GENERATOR_DIRECTORY"):
        _submit(services, attribution_id).get(timeout=_PATIENCE_SECONDS)
    assert _audit(shared_ledger, attribution_id).state is AuditState.FAILED


def test_only_json_is_read_from_the_broker(
    worker: ServiceProcess, services: Services, shared_ledger: Ledger, prepared: Prepared, query_png: bytes
) -> None:
    attribution_id = record(shared_ledger, prepared, query_png)
    client = services.client()
    client.conf.update(accept_content=["json", "pickle"])
    client.send_task("creditline.audit", kwargs={"attribution_id": attribution_id}, serializer="pickle")
    known = record(shared_ledger, prepared, query_png)
    _submit(services, known).get(timeout=_PATIENCE_SECONDS)
    assert _audit(shared_ledger, attribution_id).state is AuditState.QUEUED, "the pickled job was not run"


def test_health_readiness_and_metrics_are_served(worker: ServiceProcess, services: Services) -> None:
    for page in ("healthz", "readyz"):
        status, body = _read(f"{services.metrics_url}/{page}")
        assert status == 200
        answer = json.loads(body)
        assert answer["status"] == "ok"
        assert set(answer) == {"status", "device", "name"}
    assert _sample(services, "creditline_teacher_loaded") == 1.0
    assert _sample(services, 'creditline_teacher_audits_total{state="done"}') >= 1.0
    assert _sample(services, "creditline_teacher_audit_seconds_count") >= 1.0
    assert _read(f"{services.metrics_url}/nothing")[0] == 404


def test_health_log_and_metric_name_the_device(worker: ServiceProcess, services: Services) -> None:
    found = json.loads(_read(f"{services.metrics_url}/healthz")[1])
    assert found["device"] == ("cuda:0" if torch.cuda.is_available() else "cpu")
    labels = f'device="{found["device"]}",name="{found["name"]}"'
    assert _sample(services, f"creditline_device_info{{{labels}}}") == 1.0
    assert f"models run on {found['device']} ({found['name']})" in worker.log.read_text()


def test_a_worker_that_is_stopped_gives_its_audit_back_and_the_next_one_finishes_it(
    worker: ServiceProcess,
    services: Services,
    shared_ledger: Ledger,
    prepared: Prepared,
    query_png: bytes,
    tmp_path: Path,
) -> None:
    """Last in this module: it stops the shared worker."""
    worker.stop()
    hasty = start_process(
        worker_plan(services, CREDITLINE_TEACHER_STOP_GRACE_SECONDS="0"), tmp_path / "hasty.log"
    )
    attribution_id = record(shared_ledger, prepared, query_png)
    result = _submit(services, attribution_id)
    _until("running", lambda: _audit(shared_ledger, attribution_id).state is AuditState.RUNNING)
    hasty.stop()
    assert hasty.exit_status() == 0
    given_back = _audit(shared_ledger, attribution_id)
    assert given_back.verdict is None, f"{given_back.state}: {hasty.log_tail()}"
    assert redis.Redis.from_url(services.broker_url).llen("celery") == 1, "the job is in the queue again"
    successor = start_process(worker_plan(services), tmp_path / "successor.log")
    try:
        verdict = verdict_from_json(result.get(timeout=_PATIENCE_SECONDS))
        assert verdict == _audit(shared_ledger, attribution_id).verdict
    finally:
        successor.stop()


def test_without_redis_the_worker_ends_with_one_sentence_that_names_what_to_start(prepared: Prepared) -> None:
    port = StackPorts.free().redis
    done = _run_worker(prepared, CREDITLINE_BROKER_URL=f"redis://:secret@127.0.0.1:{port}/0")
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"creditline teacher: Redis does not answer at redis://127.0.0.1:{port}/0 ("
    )
    assert "creditline local up" in done.stderr
    assert "CREDITLINE_BROKER_URL" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_states_when_its_certificates_expire(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    ledger, ca = f"sqlite:///{tmp_path}/ledger.db", authority.certificate
    worker = AuditWorker(TeacherSettings(ledger_url=ledger, embedder_tls_ca=ca, qdrant_tls_ca=ca))
    metrics = worker.metrics.exposition().body.decode()
    worker.close()
    for connection in ("embedder", "qdrant"):
        assert f'expiry_timestamp_seconds{{connection="{connection}",file="authorities"}}' in metrics


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CREDITLINE_TEACHER_METRICS_PORT", "many", "unable to parse"),
        ("CREDITLINE_TEACHER_SAMPLED_WORKS", "0", "greater than or equal to 1"),
        ("CREDITLINE_BROKER_URL", "amqp://there", "redis://"),
        ("CREDITLINE_DEVICE", "gpu", "none of auto, cpu, cuda and cuda:N"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_sentence(
    prepared: Prepared, name: str, value: str, words: str
) -> None:
    done = _run_worker(prepared, **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"creditline teacher: {name} is '{value}'")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_absent_device_stops_the_start_with_one_sentence(services: Services, prepared: Prepared) -> None:
    done = _run_worker(prepared, **{**services.environment, "CREDITLINE_DEVICE": "cuda:77"})
    assert done.returncode == 2
    assert done.stderr.startswith(
        "creditline teacher: CREDITLINE_DEVICE or --device is 'cuda:77', but that GPU is absent"
    )
    assert done.stderr.count("\n") == 1


def _run_worker(prepared: Prepared, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "creditline.teacher"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **prepared.environment(), **environment},
    )
