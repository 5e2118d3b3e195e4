"""One query and one audit through all real processes; then the services go down one after the other.

The tests run in the order of this file, on one set of services: whoever stops one comes after who needs it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from celery.result import AsyncResult
from PIL import Image

from creditline.api.answers import AttributionAnswer, AuditAnswer
from creditline.calibration.holders import whole
from creditline.calibration.shares import ScoredWork, duplicate_groups
from creditline.errors import FingerprintMismatch, NotFound, Unavailable
from creditline.local.health import grpc_serves, http_answers, redis_answers
from creditline.local.processes import ServicePlan, ServiceProcess
from creditline.local.services import LOOPBACK, StackPorts, redis_executable
from creditline.v1 import embedder_pb2
from creditline.v1.embedder_pb2_grpc import EmbedderStub
from generator_factory import random_generator
from tests.e2e.conftest import Picture, System
from tests.observability.collector import ReceivedSpan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_AUDIT_SECONDS = 300.0
# As many hits as the gateway searches for: works of one duplicate group share a line.
_SPARE_HITS = 10


@pytest.fixture(scope="module")
def answer(system: System, picture: Picture) -> AttributionAnswer:
    return system.attribute(picture)


def _until(what: str, holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.05)


def _query_vector(system: System, picture: Picture) -> np.ndarray:
    with grpc.insecure_channel(system.stack.embedder_target) as channel:
        item = embedder_pb2.EmbedRequest.Item(image=picture.png, text=picture.prompt)
        request = embedder_pb2.EmbedRequest(items=[item], side=embedder_pb2.SIDE_QUERY)
        return np.array(EmbedderStub(channel).Embed(request, timeout=60).vectors[0].values)


# Answers


def test_shares_and_remainder_sum_to_one(answer: AttributionAnswer) -> None:
    assert len(answer.works) == 8
    assert sum(work.share for work in answer.works) + answer.remainder == pytest.approx(1.0, abs=1e-6)
    assert sum(person.share for person in answer.contributors) <= 1.0
    assert all(0.0 <= work.share <= 1.0 for work in answer.works)


def test_a_contributors_share_is_the_sum_over_all_their_works(
    system: System, picture: Picture, answer: AttributionAnswer
) -> None:
    release, corpus = system.deployment.release, system.deployment.corpus
    cosines = release.vectors() @ _query_vector(system, picture)
    expected, positive = (values[0] for values in release.calibration().of_queries(cosines[None]))
    parts = np.maximum(expected, 0.0)
    makers = np.array([corpus.works[corpus.row(work)].contributor for work in release.work_ids()])
    is_listed = np.isin(release.work_ids(), [w for work in answer.works for w in (work.id, *work.copies)])
    total = parts[is_listed].sum() + positive[~is_listed].sum()
    for person in answer.contributors:
        assert person.share == pytest.approx(parts[makers == person.name].sum() / total, abs=1e-3)


def test_every_listed_work_is_one_of_the_corpus_with_its_contributor(
    system: System, answer: AttributionAnswer
) -> None:
    corpus = system.deployment.corpus
    groups = []
    for work in answer.works:
        known = corpus.works[corpus.row(work.id)]
        assert (work.title, work.contributor, work.licence) == (known.title, known.contributor, known.licence)
        groups.append(known.duplicate_group)
        for copy in work.copies:
            assert corpus.works[corpus.row(copy)].duplicate_group == known.duplicate_group
    assert len(set(groups)) == len(groups), "a duplicate group is listed once"


def test_the_order_is_that_of_comparing_the_query_with_every_vector_of_the_release(
    system: System, picture: Picture, answer: AttributionAnswer
) -> None:
    release, corpus = system.deployment.release, system.deployment.corpus
    cosines = release.vectors() @ _query_vector(system, picture)
    influences = release.calibration().of_queries(cosines[None])[0][0]
    nearest = np.argsort(-cosines, kind="stable")[: 2 * len(answer.works) + _SPARE_HITS]
    works = [corpus.works[corpus.row(release.work_ids()[row])] for row in nearest]
    found = [
        ScoredWork(
            work.id,
            whole(work.contributor),
            work.duplicate_group,
            float(cosines[row]),
            float(influences[row]),
        )
        for row, work in zip(nearest, works, strict=True)
    ]
    expected = duplicate_groups(found)[: len(answer.works)]
    assert [work.id for work in answer.works] == [group.best.work_id for group in expected]
    assert [work.score for work in answer.works] == pytest.approx(
        [group.best.score for group in expected], abs=1e-4
    )


def test_the_remainder_is_the_calibrated_influence_of_all_other_works(
    system: System, picture: Picture, answer: AttributionAnswer
) -> None:
    release = system.deployment.release
    cosines = release.vectors() @ _query_vector(system, picture)
    expected, positive = (values[0] for values in release.calibration().of_queries(cosines[None]))
    credited = np.maximum(expected, 0.0)
    listed = {work_id for work in answer.works for work_id in (work.id, *work.copies)}
    is_listed = np.array([work_id in listed for work_id in release.work_ids()])
    others = positive[~is_listed].sum()
    assert answer.remainder == pytest.approx(others / (credited[is_listed].sum() + others), abs=1e-3)


def test_the_answer_names_the_release_and_its_generator(
    system: System, picture: Picture, answer: AttributionAnswer
) -> None:
    assert answer.release.name == system.deployment.release.name
    assert answer.release.generator_fingerprint == picture.generator
    assert answer.release.works == len(system.deployment.corpus)
    stages = ("check_ms", "embed_ms", "search_ms", "share_ms", "record_ms")
    assert all(getattr(answer.timings, stage) > 0 for stage in stages)


def test_the_answer_states_its_uncertainty(answer: AttributionAnswer) -> None:
    assert answer.coverage == pytest.approx(0.9)
    for credit in (*answer.works, *answer.contributors):
        assert credit.share_low is not None
        assert credit.share_high is not None
        assert 0.0 <= credit.share_low <= credit.share <= credit.share_high
        assert credit.share_high > credit.share_low
    assert answer.remainder_low is not None
    assert answer.remainder_high is not None
    assert answer.remainder_low < answer.remainder < answer.remainder_high
    assert 0.0 < answer.concentration < 0.5


def test_noise_gets_a_high_out_of_distribution_score(
    system: System, picture: Picture, answer: AttributionAnswer
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    opened = io.BytesIO()
    Image.fromarray(pixels).save(opened, format="PNG")
    noise = system.attribute(replace(picture, png=opened.getvalue()))
    assert answer.ood_score is not None
    assert noise.ood_score is not None
    assert answer.ood_score < 1.0 < noise.ood_score


def test_a_prompt_of_another_picture_is_noticed(
    system: System, picture: Picture, answer: AttributionAnswer
) -> None:
    swapped = system.attribute(replace(picture, prompt="a blue city bus in the rain, seen from above"))
    assert answer.prompt_agreement is not None
    assert swapped.prompt_agreement is not None
    # This picture is one of the one in twenty that hardly agree with their own prompt.
    assert swapped.prompt_agreement < answer.prompt_agreement
    assert swapped.prompt_agreement < 0.02


def test_the_rest_api_returns_the_same_numbers_as_json(
    system: System, picture: Picture, answer: AttributionAnswer
) -> None:
    with httpx.Client(base_url=system.stack.gateway_url, trust_env=False, timeout=60) as http:
        again = http.post(
            "/v1/attributions",
            headers={"authorization": f"Bearer {system.stack.api_key}"},
            files={"image": ("picture.png", picture.png, "image/png")},
            data={"prompt": picture.prompt, "generator": picture.generator, "k": "8"},
        )
    assert again.status_code == 200, again.text
    works = again.json()["works"]
    assert [work["id"] for work in works] == [work.id for work in answer.works]
    assert [work["share"] for work in works] == pytest.approx([work.share for work in answer.works], abs=1e-5)


# Audits


def test_one_query_and_its_audit_are_followed_through_every_service(
    system: System, answer: AttributionAnswer, picture: Picture
) -> None:
    with system.ledger() as ledger:
        stored = ledger.attribution(answer.attribution_id)
        assert (stored.prompt, stored.generator, stored.k) == (picture.prompt, picture.generator, 8)
        assert [work["id"] for work in stored.answer["works"]] == [work.id for work in answer.works]
        assert ledger.verify_chain().intact

        submitted = system.client.submit_audit(answer.attribution_id)
        assert submitted.attribution_id == answer.attribution_id
        assert system.client.submit_audit(answer.attribution_id).id == submitted.id

        done = system.client.wait_for_audit(submitted.id, timeout_seconds=_AUDIT_SECONDS)
        assert done.state == "DONE", done.error
        assert done.verdict is not None
        assert ledger.audit(submitted.id).verdict is not None

    task, payload, published_at = _outbox_row(system, submitted.id)
    assert task == "creditline.audit"
    assert json.loads(payload) == {"attribution_id": answer.attribution_id}
    assert published_at is not None
    result = AsyncResult(submitted.id, app=system.celery()).get(timeout=60)
    assert result["recall"]["value"] == done.verdict.recall.value, "Celery and the ledger hold one verdict"

    listed = [work.id for work in done.verdict.works if work.listed]
    assert set(listed) == {work_id for work in answer.works for work_id in (work.id, *work.copies)}
    assert done.verdict.query_rise >= 1.05
    assert done.verdict.sampled_works == 24


def _outbox_row(system: System, audit_id: str) -> tuple[str, str, str | None]:
    path = system.stack.ledger_url.removeprefix("sqlite:///")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT task, payload, published_at FROM outbox WHERE audit_id = ?", [audit_id]
        ).fetchall()
    assert len(rows) == 1
    found: tuple[str, str, str | None] = rows[0]
    return found


def test_the_next_answer_states_the_accuracy_that_audits_found(
    system: System, answer: AttributionAnswer, picture: Picture
) -> None:
    audit = system.client.submit_audit(answer.attribution_id)
    verdict = system.client.wait_for_audit(audit.id, timeout_seconds=_AUDIT_SECONDS).verdict
    assert verdict is not None
    accuracy = system.attribute(picture).accuracy
    assert accuracy.audits == 1
    assert accuracy.recall == pytest.approx(verdict.recall.value)
    assert accuracy.missed_influence == pytest.approx(verdict.missed_influence.value)
    assert accuracy.recall_low is not None
    assert accuracy.recall_high is not None
    assert accuracy.recall_low <= verdict.recall.value <= accuracy.recall_high
    assert answer.accuracy.audits == 0, "the answer before the audit could not know"


def test_an_answer_and_its_audit_are_one_trace_through_every_service(
    system: System, picture: Picture
) -> None:
    trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {
        "authorization": f"Bearer {system.stack.api_key}",
        "traceparent": f"00-{trace}-{caller}-01",
    }
    with httpx.Client(
        base_url=system.stack.gateway_url, trust_env=False, timeout=60, headers=headers
    ) as http:
        form = {"prompt": picture.prompt, "generator": picture.generator}
        answer = http.post("/v1/attributions", files={"image": picture.png}, data=form).json()
        audit = http.post("/v1/audits", json={"attribution_id": answer["attribution_id"]}).json()
    system.client.wait_for_audit(audit["id"], timeout_seconds=_AUDIT_SECONDS)
    spans = system.collector.spans

    _until("the audit's span is received", lambda: bool(spans(trace_id=trace, service="teacher", kind=5)))
    by_id = {span.span_id: span for span in spans(trace_id=trace)}
    assert {
        ("gateway", "POST /v1/attributions"),
        *(("gateway", stage) for stage in ("check", "embed", "search", "share", "record")),
        ("gateway", "/creditline.v1.Embedder/Embed"),
        ("embedder", "/creditline.v1.Embedder/Embed"),
        ("gateway", "/qdrant.Points/Query"),
        ("gateway", "POST /v1/audits"),
        ("gateway", "publish creditline.audit"),
        ("teacher", "run/creditline.audit"),
    } <= {(span.service, span.name) for span in by_id.values()}
    assert {span.name for span in by_id.values() if span.parent_id not in by_id} == {
        "POST /v1/attributions",
        "POST /v1/audits",
    }, "no span of the trace is missing"

    def above(span: ReceivedSpan) -> list[str]:
        parent = by_id.get(span.parent_id)
        return [span.name] if parent is None else [span.name, *above(parent)]

    (run,) = spans(trace_id=trace, name="run/creditline.audit")
    assert above(run) == ["run/creditline.audit", "publish creditline.audit", "POST /v1/audits"]
    statements = [span for span in by_id.values() if "db.statement" in span.attributes]
    writers = {(span.service, above(span)[-1]) for span in statements if span.name.startswith("INSERT")}
    assert writers == {("gateway", "POST /v1/attributions"), ("gateway", "POST /v1/audits")}
    assert any(span.service == "teacher" and span.name.startswith("UPDATE") for span in statements)


def test_an_audit_is_submitted_by_its_tasks_name_knowing_only_the_brokers_address(
    system: System, picture: Picture
) -> None:
    served = system.attribute(picture, k=3)
    before = system.client.release(served.release.name).accuracy.audits
    result = system.celery().send_task("creditline.audit", kwargs={"attribution_id": served.attribution_id})
    verdict = result.get(timeout=_AUDIT_SECONDS)
    audit = system.client.submit_audit(served.attribution_id)
    assert audit.state == "DONE"
    assert audit.verdict is not None
    assert audit.verdict.recall.value == verdict["recall"]["value"]
    assert system.client.release(served.release.name).accuracy.audits == before + 1
    with pytest.raises(AssertionError):
        _outbox_row(system, audit.id)


def test_an_audit_of_an_unknown_attribution_is_rejected_by_the_gateway(system: System) -> None:
    with pytest.raises(NotFound, match="no attribution"):
        system.client.submit_audit("0" * 32)


def _audit_command(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`creditline audit`, which finds the stack by its state directory."""
    return subprocess.run(
        [sys.executable, "-m", "creditline.cli.main", "audit", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "CREDITLINE_STATE_DIRECTORY": str(system.stack.directory)},
    )


def test_the_command_submits_waits_and_prints_the_verdict(system: System, answer: AttributionAnswer) -> None:
    submitted = _audit_command(system, "submit", answer.attribution_id, "--json")
    assert submitted.returncode == 0, submitted.stderr
    audit_id = json.loads(submitted.stdout)["id"]
    assert audit_id == system.client.submit_audit(answer.attribution_id).id
    waited = _audit_command(system, "wait", audit_id, "--json")
    assert waited.returncode == 0, waited.stderr
    assert json.loads(waited.stdout)["verdict"]["listed_works"] >= 8
    shown = _audit_command(system, "show", audit_id)
    assert shown.returncode == 0, shown.stderr
    for words in (audit_id, "DONE", answer.attribution_id, "influence that was missed", "rank correlation"):
        assert words in shown.stdout


def test_the_command_reports_an_unknown_audit_in_one_line(system: System) -> None:
    done = _audit_command(system, "show", "0" * 32)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: there is no audit '{'0' * 32}'")
    assert done.stderr.count("\n") == 1


# Errors, and failures of single services


def test_a_picture_of_another_generator_is_rejected_with_both_fingerprints(
    system: System, picture: Picture
) -> None:
    with pytest.raises(FingerprintMismatch, match=picture.generator) as refused:
        system.client.attribute(picture.png, prompt=picture.prompt, generator="f" * 64)
    assert "f" * 64 in refused.value.message
    assert refused.value.field == "generator"


@dataclass(frozen=True)
class Replacement:
    """A second worker on the stack's broker and ledger; the tests put its generator at `place`."""

    place: Path


@pytest.fixture(scope="module")
def replacement(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replacement]:
    """Replaces the stack's teacher."""
    directory, metrics = tmp_path_factory.mktemp("replacement"), StackPorts.free().teacher_metrics
    plan = ServicePlan(
        name="teacher",
        command=(sys.executable, "-m", "creditline.teacher"),
        address=f"http://{LOOPBACK}:{metrics}",
        is_healthy=lambda: http_answers(f"http://{LOOPBACK}:{metrics}/healthz"),
        environment={
            **system.stack.environment,
            **system.deployment.settings,
            "CREDITLINE_GENERATOR_DIRECTORY": str(directory / "generator"),
            "CREDITLINE_TEACHER_METRICS_PORT": str(metrics),
        },
        start_seconds=240.0,
    )
    _stop(system, "teacher", lambda: _teacher_answers(system))
    worker = ServiceProcess(plan, directory / "teacher.log")
    try:
        worker.wait_until_healthy()
        yield Replacement(directory / "generator")
    finally:
        worker.stop()


def _audit_of_a_fresh_answer(system: System, picture: Picture) -> AuditAnswer:
    served = system.attribute(picture, k=2)
    audit = system.client.submit_audit(served.attribution_id)
    return system.client.wait_for_audit(audit.id, timeout_seconds=_AUDIT_SECONDS)


def test_without_its_generator_a_worker_fails_audits_and_names_the_remedy(
    system: System, picture: Picture, replacement: Replacement
) -> None:
    failed = _audit_of_a_fresh_answer(system, picture)
    assert (failed.state, failed.verdict) == ("FAILED", None)
    assert failed.error is not None
    assert f"no generator at {replacement.place}" in failed.error
    assert "creditline generator assemble" in failed.error


def test_with_another_generator_a_worker_fails_audits_and_names_both_fingerprints(
    system: System, picture: Picture, replacement: Replacement, tmp_path: Path
) -> None:
    shutil.copytree(random_generator(tmp_path / "another", seed=9), replacement.place)
    failed = _audit_of_a_fresh_answer(system, picture)
    assert (failed.state, failed.verdict) == ("FAILED", None)
    assert failed.error is not None
    assert f"made with generator '{picture.generator}', not '" in failed.error


def test_once_its_generator_is_there_the_same_worker_gives_verdicts(
    system: System, picture: Picture, replacement: Replacement
) -> None:
    shutil.rmtree(replacement.place)
    shutil.copytree(system.deployment.generator_directory, replacement.place)
    done = _audit_of_a_fresh_answer(system, picture)
    assert (done.state, done.error) == ("DONE", None)


def test_without_redis_answers_go_on_and_no_audit_is_lost(
    system: System, picture: Picture, replacement: Replacement, tmp_path: Path
) -> None:
    port = int(system.stack.broker_url.rsplit(":", 1)[1].removesuffix("/0"))
    _stop(system, "redis", lambda: redis_answers(LOOPBACK, port))
    served = system.attribute(picture, k=2)
    audit = system.client.submit_audit(served.attribution_id)
    assert audit.state == "QUEUED"
    problem = _trouble(system, "redis")
    assert "Redis does not answer" in problem
    assert "creditline local up" in problem
    log = system.stack.directory / "logs" / "gateway.log"
    _until("the gateway tried to publish it", lambda: "jobs wait in the outbox" in log.read_text())
    assert system.client.audit(audit.id).state == "QUEUED", "it waits in the ledger"
    where = ("--bind", LOOPBACK, "--port", str(port), "--dir", str(tmp_path))
    command = (redis_executable(), *where, "--save", "")
    plan = ServicePlan("redis", command, f"{LOOPBACK}:{port}", lambda: redis_answers(LOOPBACK, port))
    redis = ServiceProcess(plan, tmp_path / "redis.log")
    try:
        redis.wait_until_healthy()
        done = system.client.wait_for_audit(audit.id, timeout_seconds=_AUDIT_SECONDS)
        assert done.state == "DONE", done.error
    finally:
        redis.stop()


def test_without_qdrant_the_error_names_it_and_what_to_start(system: System, picture: Picture) -> None:
    _stop(system, "qdrant", lambda: grpc_serves(system.stack.qdrant_target))
    with pytest.raises(Unavailable, match=r"Qdrant does not answer at .*creditline local up") as refused:
        system.attribute(picture)
    assert refused.value.service == "qdrant"


def test_without_the_embedder_the_error_names_it_and_what_to_start(system: System, picture: Picture) -> None:
    _stop(system, "embedder", lambda: grpc_serves(system.stack.embedder_target))
    with pytest.raises(Unavailable, match=r"embedder does not answer at .*creditline local up") as refused:
        system.attribute(picture)
    assert refused.value.service == "embedder"


def test_without_the_gateway_the_client_names_the_address(system: System, picture: Picture) -> None:
    _stop(system, "gateway", lambda: grpc_serves(system.stack.gateway_target))
    with pytest.raises(Unavailable, match=rf"gateway does not answer at {system.stack.gateway_target}"):
        system.attribute(picture)


def _stop(system: System, service: str, answers: Callable[[], bool]) -> None:
    """Stop one service of the stack, and wait until it is gone."""
    os.kill(system.stack.pids[service], signal.SIGTERM)
    _until(f"{service} is gone", lambda: not answers())


def _teacher_answers(system: System) -> bool:
    address = f"http://{LOOPBACK}:{system.stack.environment['CREDITLINE_TEACHER_METRICS_PORT']}"
    return http_answers(f"{address}/metrics")


def _trouble(system: System, service: str) -> str:
    """The gateway's readiness report on a service that is down."""
    with httpx.Client(base_url=system.stack.gateway_url, trust_env=False, timeout=60) as http:
        dependencies = http.get("/readyz").json()["dependencies"]
    state = next(each for each in dependencies if each["service"] == service)
    assert state["up"] is False
    return str(state["message"])
