"""All real services, started once for the module, and a picture that their generator made."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from celery import Celery

from creditline.api.answers import AttributionAnswer
from creditline.client import CreditlineClient
from creditline.generator.pipeline import Generator
from creditline.ledger import Ledger
from creditline.local.stack import LocalStack
from tests.e2e.deployment import Deployment, reference_deployment
from tests.observability.collector import Collector, running_collector

PROMPT = "a red ladybug"
_SEED = 7
# The first answer after a start may wait for models to warm up, and the machine may be busy.
_CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Picture:
    """A generated picture, and the fields of a request for its attribution."""

    png: bytes
    prompt: str
    generator: str


@dataclass(frozen=True)
class System:
    """The running services and their clients."""

    stack: LocalStack
    deployment: Deployment
    client: CreditlineClient
    collector: Collector
    """Receives the spans of all services."""

    def ledger(self) -> Ledger:
        return Ledger.open(self.stack.ledger_url)

    def celery(self) -> Celery:
        """A Celery client that knows only the broker's address."""
        return Celery(broker=self.stack.broker_url, backend=self.stack.broker_url, set_as_current=False)

    def attribute(self, picture: Picture, k: int = 8) -> AttributionAnswer:
        return self.client.attribute(picture.png, prompt=picture.prompt, generator=picture.generator, k=k)


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return reference_deployment(tmp_path_factory.mktemp("deployment"))


@pytest.fixture(scope="session")
def picture(deployment: Deployment) -> Picture:
    buffer = io.BytesIO()
    with Generator.open(deployment.generator_directory) as generator:
        generator.sample([PROMPT], [_SEED])[0].save(buffer, format="PNG")
        return Picture(buffer.getvalue(), PROMPT, generator.fingerprint)


@pytest.fixture(scope="module")
def system(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with pytest.MonkeyPatch.context() as patch, running_collector() as collector:
        patch.setenv("CREDITLINE_TRACES", collector.endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        for name, value in deployment.settings.items():
            patch.setenv(name, value)
        # Fewer works than a deployment scores: each audit here takes a few seconds.
        patch.setenv("CREDITLINE_TEACHER_SAMPLED_WORKS", "24")
        patch.setenv("CREDITLINE_TEACHER_LEASE_SECONDS", "20")
        stack = LocalStack(
            state_directory=tmp_path_factory.mktemp("stack"), release_directory=deployment.release.directory
        )
        with (
            stack,
            CreditlineClient(
                stack.gateway_target, api_key=stack.api_key, timeout_seconds=_CALL_SECONDS
            ) as client,
        ):
            yield System(stack, deployment, client, collector)
