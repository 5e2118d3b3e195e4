"""The programs of all images started on this machine, beside the local Qdrant and Redis."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from creditline.client import CreditlineClient
from creditline.errors import CreditlineError
from creditline.local.processes import ServicePlan, ServiceProcess
from creditline.local.services import StackPlan, StackPorts
from tests.deploy.image_environment import CheckFailed, ImageEnvironment
from tests.deploy.image_programs import entry_point, health_check, other_commands
from tests.deploy.manifests import REPOSITORY

_COMMAND_SECONDS = 300.0
_AUDIT_SECONDS = 300.0
_STAND_INS = ("redis", "qdrant")
_PROMPT = "a red ladybug"
# Where the manifests keep the teacher's generator.
_GENERATOR = "/var/lib/creditline/generator"
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Started:
    """One row of the table: the program, its result, and the time it took."""

    image: str
    program: str
    seen: str
    seconds: float


@dataclass
class ImageStack:
    """Runs the images' programs in `directory`; each step is appended to `rows`."""

    environments: Mapping[str, ImageEnvironment]
    directory: Path
    rows: list[Started] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._plan = StackPlan(
            services=frozenset({*_STAND_INS, *self.environments}),
            ports=StackPorts.free(),
            directory=self.directory,
            release_directory=None,
            generator_directory=self.directory / "generator",
            generator_adapters=(),
            corpus_file=None,
            teacher_artifacts=None,
            api_key="check",
            device="cpu",
        )

    def check(self) -> None:
        """Start everything in the manifests' order, ask for one answer and one audit, and stop everything.

        Raises:
            CheckFailed: a program did not start, or an answer or its audit did not come.
        """
        with ExitStack() as running:
            for name in _STAND_INS:
                plan = self._plan.service(name)
                source = {"PYTHONPATH": str(REPOSITORY / "services")}
                running.enter_context(
                    self._service(replace(plan, environment={**plan.environment, **source}))
                )
            for image in self.environments:
                for command in other_commands(image):
                    self._command(image, command)
            for image in ("embedder", "teacher", "gateway"):
                running.enter_context(self._service(self._image_plan(image)))
                self._row(image, entry_point(image), "healthy", running_since=self._began)
                self._command(image, self._with_ports(health_check(image)), shown="HEALTHCHECK")
            self._step("gateway", "GET /readyz", self._readiness)
            self._step("gateway", "one answer, and its audit by the teacher", self._answer_and_audit)

    def _image_plan(self, image: str) -> ServicePlan:
        plan = self._plan.service(image)
        command = self.environments[image].command(entry_point(image))
        return replace(plan, command=command, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        """The settings of all services, without a path to any source tree."""
        alone = {"PYTHONPATH": "", "HF_HUB_OFFLINE": "1", "XDG_STATE_HOME": str(self.directory / "state")}
        return {**self._plan.environment(), **alone}

    @contextmanager
    def _service(self, plan: ServicePlan) -> Iterator[None]:
        self._began = time.monotonic()
        process = ServiceProcess(plan, self.directory / f"{plan.name}.log")
        try:
            process.wait_until_healthy()
            yield
        except CreditlineError as error:
            raise CheckFailed(f"{plan.name}: {error.message}") from error
        finally:
            process.stop()

    def _command(self, image: str, command: list[str], *, shown: str = "") -> None:
        here = [word.replace(_GENERATOR, str(self._plan.generator_directory)) for word in command]

        def ended() -> str:
            said = self.environments[image].run(here, self._environment(), seconds=_COMMAND_SECONDS)
            return (said.strip().splitlines() or ["status 0"])[-1]

        self._step(image, shown or " ".join(command), ended)

    def _with_ports(self, command: list[str]) -> list[str]:
        """The Dockerfile's ports replaced by those of this run."""
        ports = self._plan.ports
        own = {"7180": ports.gateway_http, "7200": ports.embedder, "7390": ports.teacher_metrics}
        text = json.dumps(command)
        for fixed, port in own.items():
            text = text.replace(f":{fixed}", f":{port}")
        replaced: list[str] = json.loads(text)
        return replaced

    def _step(self, image: str, program: str, run: Callable[[], str]) -> None:
        began = time.monotonic()
        try:
            seen = run()
        except CreditlineError as error:
            raise CheckFailed(f"{image}, {program}: {error.message}") from error
        self.rows.append(Started(image, program, seen, time.monotonic() - began))

    def _row(self, image: str, command: list[str], seen: str, *, running_since: float) -> None:
        self.rows.append(Started(image, " ".join(command), seen, time.monotonic() - running_since))

    def _readiness(self) -> str:
        with _DIRECTLY.open(f"{self._plan.gateway_url}/readyz", timeout=30) as answer:
            states = {each["service"]: each for each in json.load(answer)["dependencies"]}
        down = [each["message"] for each in states.values() if not each["up"]]
        if down:
            raise CheckFailed(f"the gateway is ready, but: {'; '.join(down)}")
        return f"200, up: {', '.join(states)}"

    def _answer_and_audit(self) -> str:
        """Attribute a plain picture; the content of the answer does not matter here."""
        with CreditlineClient(self._plan.gateway_target, api_key=self._plan.api_key) as client:
            generator = client.release().release.generator_fingerprint
            picture = Image.linear_gradient("L").convert("RGB")
            answer = client.attribute(picture, prompt=_PROMPT, generator=generator, k=3, timeout_seconds=60)
            audit = client.submit_audit(answer.attribution_id)
            audit = client.wait_for_audit(audit.id, timeout_seconds=_AUDIT_SECONDS)
        if audit.state != "DONE":
            raise CheckFailed(f"the audit ended as {audit.state}: {audit.error}")
        return f"{len(answer.works)} works, audit {audit.state}"
