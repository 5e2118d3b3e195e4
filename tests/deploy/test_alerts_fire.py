"""Every alert is seen to fire: a real Prometheus scrapes real processes to which its cause happens.

Rules are those of deploy/prometheus, but for the time that a condition must last. Needs `prometheus`
(apt-get install prometheus), so it is part of `make test-system`.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import redis
import yaml

from creditline.client import CreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.errors import CreditlineError
from creditline.ledger import Ledger
from creditline.local.settings import LocalSettings
from creditline.local.stack import LocalStack
from creditline.v1 import embedder_pb2
from creditline.v1.embedder_pb2_grpc import EmbedderStub
from tests.benchmarks.load.decoding import detailed_picture, flat_picture
from tests.benchmarks.load.gateway_process import API_KEY, GatewayProcess, gateway_process
from tests.deploy.manifests import REPOSITORY
from tests.ledger.conftest import record, verdict
from tests.processes import freeze, wait_until
from tests.real_parts.certificates import CertificateAuthority
from tests.real_parts.prometheus import Prometheus, running_prometheus

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

_RULES = REPOSITORY / "deploy" / "prometheus" / "alerts.yaml"
_FIRE_SECONDS = 60.0
_SCRAPE_SECONDS = 0.5
_AUTHORITY = "authority"


def _impatient_rules(directory: Path) -> Path:
    """The rules, whose conditions need to last for a second only."""
    written = directory / "alerts.yaml"
    written.write_text(re.sub(r"(?m)^( +for:) \w+$", r"\1 1s", _RULES.read_text()))
    return written


def _all_alerts() -> set[str]:
    groups = yaml.safe_load(_RULES.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def _wait_for_scrapes(prometheus: Prometheus, jobs: set[str]) -> None:
    """Wait until every job was scraped after now."""
    time.sleep(3 * _SCRAPE_SECONDS)
    wait_until(lambda: prometheus.targets_up() == jobs, "all targets are scraped")
    time.sleep(3 * _SCRAPE_SECONDS)


# A gateway whose other services are down


@dataclass(frozen=True)
class LonelyGateway:
    """A gateway process that only has its ledger, and the Prometheus that watches it."""

    process: GatewayProcess
    directory: Path
    prometheus: Prometheus

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.ports.gateway_http}"

    def http(self) -> httpx.Client:
        key = {"authorization": f"Bearer {API_KEY}"}
        return httpx.Client(base_url=self.url, headers=key, timeout=60, trust_env=False)

    def attribute(self, picture: bytes) -> int:
        with self.http() as http:
            return http.post("/v1/attributions", files={"image": picture}, data={"prompt": "x"}).status_code

    def withdraw(self, number: int) -> None:
        with self.http() as http:
            body = {"kind": "CONTRIBUTOR", "subject": f"Nobody {number}", "allow_unknown": True}
            http.post("/v1/withdrawals", json=body)

    def ledger(self, *, hours_ago: float = 0.0) -> Ledger:
        """The gateway's ledger, as of a time before now."""
        ago = timedelta(hours=hours_ago)
        return Ledger.open(f"sqlite:///{self.directory}/ledger.db", clock=lambda: datetime.now(UTC) - ago)


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LonelyGateway]:
    directory = tmp_path_factory.mktemp("lonely")
    authority = CertificateAuthority(directory / _AUTHORITY, life=timedelta(days=30))
    settings = {
        "CREDITLINE_GATEWAY_COLLECT_SECONDS": "0.5",
        "CREDITLINE_DECODE_CPU_SECONDS": "0.05",
        "CREDITLINE_EMBEDDER_TLS_CA": str(authority.certificate),
    }
    with gateway_process(directory, environment=settings) as process:
        targets = {"creditline-gateway": f"127.0.0.1:{process.ports.gateway_http}"}
        rules = _impatient_rules(directory)
        with running_prometheus(directory, targets, rules, seconds=_SCRAPE_SECONDS) as prometheus:
            gateway = LonelyGateway(process, directory, prometheus)
            # The first value of a series is no increase.
            gateway.attribute(b"no picture")
            gateway.withdraw(0)
            _wait_for_scrapes(prometheus, set(targets))
            yield gateway


def _nothing(gateway: LonelyGateway) -> None:
    """Embedder, Qdrant and Redis are down anyway."""


def _an_authority_that_ends_soon(gateway: LonelyGateway) -> None:
    CertificateAuthority(gateway.directory / _AUTHORITY, life=timedelta(days=13))


def _requests_that_fail(gateway: LonelyGateway) -> None:
    picture = flat_picture((64, 64))
    assert {gateway.attribute(picture) for _ in range(12)} == {503}


def _pictures_beyond_the_limit(gateway: LonelyGateway) -> None:
    picture = detailed_picture(1_500)
    assert {gateway.attribute(picture) for _ in range(14)} == {400}


def _requests_without_a_key(gateway: LonelyGateway) -> None:
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as http:
        assert {http.get("/v1/withdrawals").status_code for _ in range(500)} == {401}


def _a_stopped_process(gateway: LonelyGateway) -> None:
    for _ in range(3):
        freeze(gateway.process.pid)
        time.sleep(1.2)
        os.kill(gateway.process.pid, signal.SIGCONT)
        time.sleep(0.6)


def _a_locked_ledger(gateway: LonelyGateway) -> None:
    connection = sqlite3.connect(gateway.directory / "ledger.db", isolation_level=None, timeout=30)
    with ThreadPoolExecutor(1) as caller:
        for number in range(1, 4):
            connection.execute("BEGIN IMMEDIATE")
            written = caller.submit(gateway.withdraw, number)
            time.sleep(1.5)
            connection.execute("COMMIT")
            written.result()
    connection.close()


def _old_audits(gateway: LonelyGateway) -> None:
    """One that nobody took, one whose worker died, and one that Redis was never sent."""
    with gateway.ledger(hours_ago=2.0) as ledger:
        ledger.submit_audit(record(ledger))
        left = ledger.submit_audit(record(ledger))
        assert ledger.acquire_audit(left.id, "a worker that died", 60.0)


def _audits_that_fail(gateway: LonelyGateway) -> None:
    with gateway.ledger() as ledger:
        for _ in range(5):
            ledger.fail_audit(ledger.submit_audit(record(ledger), publish=False).id, "on purpose")


def _audits_with_low_recall(gateway: LonelyGateway) -> None:
    with gateway.ledger() as ledger:
        for _ in range(20):
            audit = ledger.submit_audit(record(ledger), publish=False)
            ledger.finish_audit(audit.id, verdict(0.1))


def _its_end(gateway: LonelyGateway) -> None:
    os.kill(gateway.process.pid, signal.SIGTERM)


_OF_THE_LONELY: dict[str, Callable[[LonelyGateway], None]] = {
    "CreditlineDependencyDown": _nothing,
    "CreditlineMetricsStale": _nothing,
    "CreditlineWithdrawalsWait": _nothing,
    "CreditlineLedgerWritesWait": _a_locked_ledger,
    "CreditlineCertificateExpires": _an_authority_that_ends_soon,
    "CreditlineServerErrors": _requests_that_fail,
    "CreditlineBreakerOpen": _nothing,
    "CreditlineDecodersEnd": _pictures_beyond_the_limit,
    "CreditlineFailedLogins": _requests_without_a_key,
    "CreditlineAuditsFail": _audits_that_fail,
    "CreditlineAccuracyLow": _audits_with_low_recall,
    "CreditlineAuditsWait": _old_audits,
    "CreditlineLeasesExpired": _nothing,
    "CreditlineOutboxStuck": _nothing,
    "CreditlineEventLoopSlow": _a_stopped_process,
    "CreditlineTargetDown": _its_end,
}
"""What happens to the gateway, in this order; `_nothing` where it happened before."""


_OF_A_BUSY_MACHINE = {"CreditlineEventLoopSlow", "CreditlineLedgerWritesWait"}
"""What the machine's other work may cause too."""


@pytest.mark.parametrize("alert", _OF_THE_LONELY)
def test_an_alert_fires_for_a_gateway_whose_services_are_down(lonely: LonelyGateway, alert: str) -> None:
    cause = _OF_THE_LONELY[alert]
    if cause is not _nothing and alert not in _OF_A_BUSY_MACHINE:
        assert alert not in lonely.prometheus.firing()
    cause(lonely)
    lonely.prometheus.wait_for_alert(alert, _FIRE_SECONDS)
    assert alert in lonely.prometheus.firing()


# All services that an answer needs


@dataclass(frozen=True)
class Stack:
    """The services, and the Prometheus that watches gateway and embedder."""

    stack: LocalStack
    prometheus: Prometheus

    def client(self) -> CreditlineClient:
        return CreditlineClient(self.stack.gateway_target, api_key=self.stack.api_key)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("stack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CREDITLINE_GATEWAY_COLLECT_SECONDS", "0.5")
        patch.setenv("CREDITLINE_EMBEDDER_COMPILED", "false")
        patch.setenv("CREDITLINE_ANSWERS_AT_ONCE", "4")
        patch.setenv("CREDITLINE_EMBEDDER_QUEUE", "4")
        patch.setenv("CREDITLINE_EMBEDDER_MAX_BATCH", "1")
        with LocalStack(
            state_directory=directory / "state",
            services=("redis", "qdrant", "embedder", "gateway"),
            settings=LocalSettings(),
        ) as stack:
            targets = {f"creditline-{name}": address for name, address in stack.metrics_addresses.items()}
            rules = _impatient_rules(directory)
            with running_prometheus(directory, targets, rules, seconds=_SCRAPE_SECONDS) as prometheus:
                served = Stack(stack, prometheus)
                _answers(served, 2)
                _wait_for_scrapes(prometheus, set(targets))
                yield served


def _answers(served: Stack, count: int) -> None:
    works = embedded_corpus().works
    with served.client() as client:
        for work in works[:count]:
            client.attribute(work.thumbnail, prompt=work.caption, timeout_seconds=60)


def _eager_towers(_served: Stack) -> None:
    """They are from the start."""


def _a_slow_embedder(served: Stack) -> None:
    """The embedder's guardian stops with it, so it is the group that is stopped."""
    work = embedded_corpus().works[0]
    with served.client() as client, ThreadPoolExecutor(1) as caller:
        for pid in _tree(served.stack.pids["embedder"]):
            freeze(pid)
        waiting = caller.submit(client.attribute, work.thumbnail, prompt=work.caption, timeout_seconds=60)
        time.sleep(2.0)
        for pid in _tree(served.stack.pids["embedder"]):
            os.kill(pid, signal.SIGCONT)
        waiting.result()


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _pictures_of_noise(served: Stack) -> None:
    rng = np.random.default_rng(0)
    with served.client() as client:
        for _ in range(12):
            words = " ".join(rng.choice(["seven", "green", "rivers", "of", "tax"], size=6))
            client.attribute(detailed_picture(96), prompt=words, timeout_seconds=60)


def _many_pictures_at_the_embedder(served: Stack) -> None:
    picture = flat_picture((64, 64))
    item = embedder_pb2.EmbedRequest.Item(image=picture, text="x")
    request = embedder_pb2.EmbedRequest(items=[item], side=embedder_pb2.SIDE_QUERY)
    until = time.monotonic() + 10.0
    with grpc.insecure_channel(served.stack.embedder_target) as channel, ThreadPoolExecutor(16) as callers:

        def embed() -> None:
            while time.monotonic() < until:
                try:
                    EmbedderStub(channel).Embed(request, timeout=30)
                except grpc.RpcError:
                    time.sleep(0.01)

        for _ in range(16):
            callers.submit(embed)


def _more_than_can_be_answered(served: Stack) -> None:
    work = embedded_corpus().works[0]

    def ask(client: CreditlineClient) -> None:
        for _ in range(12):
            try:
                client.attribute(work.thumbnail, prompt=work.caption, timeout_seconds=1.0)
            except CreditlineError:
                continue

    with served.client() as client, ThreadPoolExecutor(48) as callers:
        list(callers.map(ask, [client] * 48))


def _jobs_without_a_worker(served: Stack) -> None:
    with redis.Redis.from_url(served.stack.broker_url) as client:
        client.rpush("celery", *["a job"] * 101)


_OF_THE_STACK: dict[str, Callable[[Stack], None]] = {
    "CreditlineTowerEager": _eager_towers,
    "CreditlineSlowAnswers": _a_slow_embedder,
    "CreditlineUnfamiliarPictures": _pictures_of_noise,
    "CreditlinePromptsDisagree": _pictures_of_noise,
    "CreditlineEmbedderQueueFull": _many_pictures_at_the_embedder,
    "CreditlineOverload": _more_than_can_be_answered,
    "CreditlineJobsQueued": _jobs_without_a_worker,
}


@pytest.mark.parametrize("alert", _OF_THE_STACK)
def test_an_alert_fires_for_services_that_answer(served: Stack, alert: str) -> None:
    _OF_THE_STACK[alert](served)
    served.prometheus.wait_for_alert(alert, _FIRE_SECONDS)
    assert alert in served.prometheus.firing()


def test_no_alert_is_left_out() -> None:
    assert set(_OF_THE_LONELY) | set(_OF_THE_STACK) == _all_alerts()
