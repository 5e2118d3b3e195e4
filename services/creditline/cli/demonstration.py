"""One complete run: a picture is generated, attributed through the gateway, and audited by a worker."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from creditline.api.answers import AttributionAnswer, AuditAnswer
from creditline.cli.credit_line.line import CreditLine, Query
from creditline.cli.credit_line.recorded import thumbnails_of
from creditline.cli.quiet_libraries import quiet_libraries
from creditline.cli.steps import StepPrinter
from creditline.client import CreditlineClient
from creditline.errors import DeadlineExceeded, NotReady
from creditline.local.stack import LocalStack
from creditline.retries import RetryPolicy

if TYPE_CHECKING:
    from creditline.generator.pipeline import Generator

# Number of steps that are reported.
STEPS = 4
_POLL_SECONDS = 0.5
# Deadline of the first answer, which includes the warm-up of the models.
_ATTRIBUTE_SECONDS = 60.0
_AUDIT_UNDER_WAY = {"QUEUED": "waiting for a worker", "RUNNING": "running on a worker"}


@dataclass(frozen=True)
class Demonstration:
    """Parameters of a demonstration."""

    prompt: str
    """Prompt of the picture."""
    seed: int
    """Seed of the picture."""
    works: int = 10
    """Number of works to list."""
    audit_seconds: float = 600.0
    """Maximum time to wait for the audit, in seconds."""
    device: str = "auto"
    """Device of the generator: auto, cpu, cuda or cuda:N."""


def run_demonstration(wanted: Demonstration, stack: LocalStack, steps: StepPrinter) -> CreditLine:
    """Start the stack, generate a picture, attribute it, audit the answer, and stop the stack.

    Args:
        wanted: Parameters of the demonstration.
        stack: The stack, not started.
        steps: Receives the progress, in `STEPS` steps.

    Raises:
        CreditlineError: A service failed.
        DeadlineExceeded: The audit did not end in time.
    """
    with _running(stack, steps):
        with steps.step(f"Generating “{wanted.prompt}”, seed {wanted.seed}"):
            query = _generated(wanted, stack, steps)
        with CreditlineClient(stack.gateway_target, api_key=stack.api_key) as client:
            with steps.step("Attributing the picture through the gateway"):
                answer = _attributed(client, query, wanted.works, steps)
            with steps.step("Auditing the answer: a worker makes the model unlearn the picture"):
                audit = _audited(client, answer, wanted.audit_seconds, steps)
            return CreditLine(
                query=query,
                answer=answer,
                thumbnails=thumbnails_of(client, answer.works),
                accuracy=client.release(answer.release.name).accuracy,
                audit=audit,
            )


@contextmanager
def _running(stack: LocalStack, steps: StepPrinter) -> Iterator[None]:
    with steps.step("Starting all services on this machine"):
        stack.start()
    try:
        yield
    finally:
        stack.stop()


def _generated(wanted: Demonstration, stack: LocalStack, steps: StepPrinter) -> Query:
    """A picture of the stack's generator. Raises NotReady if the stack has no generator."""
    steps.doing("loading the generator")
    with quiet_libraries(), _open_generator(stack, wanted.device) as generator:
        steps.doing("sampling")
        picture = generator.sample([wanted.prompt], [wanted.seed])[0]
        fingerprint = generator.fingerprint
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return Query(buffer.getvalue(), wanted.prompt, fingerprint, seed=wanted.seed)


def _open_generator(stack: LocalStack, device: str) -> Generator:
    """Open a generator; torch is imported here because that takes seconds, which the services start in."""
    from creditline.devices import choose_device
    from creditline.generator.adapters.specification import AdapterSpec
    from creditline.generator.pipeline import Generator

    if stack.generator_directory is None:
        raise NotReady("the local stack has no generator; start it with the teacher service")
    adapters = [AdapterSpec.parse(adapter) for adapter in stack.generator_adapters]
    return Generator.open(stack.generator_directory, adapters=adapters, device=choose_device(device).name)


def _attributed(client: CreditlineClient, query: Query, works: int, steps: StepPrinter) -> AttributionAnswer:
    assert query.picture is not None
    answer = client.attribute(
        query.picture,
        prompt=query.prompt,
        generator=query.generator,
        k=works,
        timeout_seconds=_ATTRIBUTE_SECONDS,
    )
    steps.report(f"{len(answer.works)} works of {answer.release.works:,} in {answer.timings.total_ms:.0f} ms")
    return answer


def _audited(
    client: CreditlineClient, answer: AttributionAnswer, seconds: float, steps: StepPrinter
) -> AuditAnswer:
    """The audit after it has succeeded or failed. Raises DeadlineExceeded if it does neither in time."""
    submitted = client.submit_audit(answer.attribution_id)
    for _ in RetryPolicy.polling(_POLL_SECONDS, for_seconds=seconds).attempts():
        audit = client.audit(submitted.id)
        if audit.state not in _AUDIT_UNDER_WAY:
            steps.report(f"audit {audit.id}: {audit.state}")
            return audit
        steps.doing(_AUDIT_UNDER_WAY[audit.state])
    raise DeadlineExceeded(
        f"audit {audit.id} is still {audit.state} after {seconds:.0f} s; see the teacher's log"
    )
