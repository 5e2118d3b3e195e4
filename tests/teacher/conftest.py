"""A real Redis, a ledger, and a teacher prepared on forty works under the small random generator."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from PIL import Image

from creditline.attribution.unlearning.teacher import prepare_teacher
from creditline.corpus.works import Corpus, write_corpus
from creditline.generator.pipeline import Generator
from creditline.ledger import Ledger
from creditline.local.health import http_answers, redis_answers
from creditline.local.processes import ServicePlan, ServiceProcess
from creditline.local.services import LOOPBACK, StackPorts, redis_executable
from creditline.teacher.settings import TeacherSettings

PROMPT = "a red ladybug"


@dataclass(frozen=True)
class Prepared:
    """The files of a teacher, and the fingerprints of its answers."""

    generator_directory: Path
    artifacts: Path
    corpus_file: Path
    corpus: Corpus
    generator: str

    def environment(self) -> dict[str, str]:
        return {
            "CREDITLINE_GENERATOR_DIRECTORY": str(self.generator_directory),
            "CREDITLINE_TEACHER_ARTIFACTS": str(self.artifacts),
            "CREDITLINE_CORPUS_FILE": str(self.corpus_file),
        }

    def settings(self, **others: Any) -> TeacherSettings:
        return TeacherSettings(
            generator_directory=self.generator_directory,
            teacher_artifacts=self.artifacts,
            corpus_file=self.corpus_file,
            **others,
        )


@pytest.fixture(scope="session")
def prepared(
    random_generator: Generator, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Prepared:
    directory = tmp_path_factory.mktemp("prepared")
    prepare_teacher(random_generator, small_corpus, directory / "artifacts", lambda line: None)
    write_corpus(small_corpus, directory / "small.parquet")
    return Prepared(
        generator_directory=random_generator.directory,
        artifacts=directory / "artifacts",
        corpus_file=directory / "small.parquet",
        corpus=small_corpus,
        generator=random_generator.fingerprint,
    )


@pytest.fixture(scope="session")
def query_png(random_generator: Generator) -> bytes:
    """A picture that the random generator made."""
    buffer = io.BytesIO()
    random_generator.sample([PROMPT], [3])[0].save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


def served_answer(corpus: Corpus, listed: int = 4, copies: int = 1) -> dict[str, Any]:
    """A stored answer that lists the first works of the corpus, the first of them with copies."""
    ids = list(corpus.ids)
    works = [
        {
            "id": ids[rank],
            "expected_influence": 1.0 / (rank + 1),
            "copies": [],
            "share": 0.2,
            "rank": rank + 1,
        }
        for rank in range(listed)
    ]
    works[0]["copies"] = ids[listed : listed + copies]
    return {"works": works, "contributors": [], "remainder": 0.2}


def record(ledger: Ledger, prepared: Prepared, image: bytes, **changes: Any) -> str:
    """An attribution in the ledger, as the gateway writes one."""
    fields: dict[str, Any] = {
        "release": "test",
        "generator": prepared.generator,
        "corpus": prepared.corpus.fingerprint,
        "prompt": PROMPT,
        "image": image,
        "k": 4,
        "answer": served_answer(prepared.corpus),
    }
    return ledger.record_attribution(**{**fields, **changes})


def plain_png(size: int = 48) -> bytes:
    """A picture that no generator made."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((size, size)).convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Services:
    """A running Redis with the ledger that its worker writes to."""

    broker_url: str
    ledger_url: str
    metrics_url: str
    environment: dict[str, str]

    def client(self) -> Celery:
        """A Celery client that knows only the broker's address."""
        return Celery(broker=self.broker_url, backend=self.broker_url, set_as_current=False)


def start_process(plan: ServicePlan, log: Path) -> ServiceProcess:
    process = ServiceProcess(plan, log)
    try:
        process.wait_until_healthy()
    except BaseException:
        process.stop()
        raise
    return process


def redis_plan(port: int, directory: Path) -> ServicePlan:
    where = ("--bind", LOOPBACK, "--port", str(port), "--dir", str(directory))
    command = (redis_executable(), *where, "--save", "", "--appendonly", "no")
    return ServicePlan("redis", command, f"{LOOPBACK}:{port}", lambda: redis_answers(LOOPBACK, port))


def worker_plan(services: Services, **environment: str) -> ServicePlan:
    return ServicePlan(
        name="teacher",
        command=(sys.executable, "-m", "creditline.teacher"),
        address=services.metrics_url,
        is_healthy=lambda: http_answers(f"{services.metrics_url}/healthz"),
        environment={**services.environment, **environment},
        start_seconds=200.0,
        grace_seconds=60.0,
    )


@pytest.fixture(scope="module")
def services(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A Redis and a ledger for a module, and how a worker finds them."""
    directory, ports = tmp_path_factory.mktemp("services"), StackPorts.free()
    broker_url = f"redis://{LOOPBACK}:{ports.redis}/0"
    ledger_url = f"sqlite:///{directory / 'ledger.db'}"
    environment = {
        **prepared.environment(),
        "CREDITLINE_BROKER_URL": broker_url,
        "CREDITLINE_LEDGER_URL": ledger_url,
        "CREDITLINE_TEACHER_METRICS_PORT": str(ports.teacher_metrics),
        "CREDITLINE_TEACHER_SAMPLED_WORKS": "12",
        "CREDITLINE_TEACHER_LEASE_SECONDS": "2",
        "CREDITLINE_TEACHER_VISIBILITY_SECONDS": "30",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    redis = start_process(redis_plan(ports.redis, directory), directory / "redis.log")
    try:
        metrics_url = f"http://{LOOPBACK}:{ports.teacher_metrics}"
        yield Services(broker_url, ledger_url, metrics_url, environment)
    finally:
        redis.stop()
