"""All of Creditline's services on this machine, started and stopped as one."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from creditline.device_setting import checked_setting
from creditline.errors import NotReady
from creditline.local.processes import ServiceProcess
from creditline.local.restarts import RESTARTS, Restarts
from creditline.local.services import LOOPBACK, SERVICES, START_ORDER, StackPlan, StackPorts, known_services
from creditline.local.settings import LocalSettings
from creditline.local.state import ServiceState, StackState, StateDirectory
from creditline.release.parts import (
    corpus_of,
    corpus_place,
    generator_adapters,
    generator_place,
    listed_adapters,
    teacher_place,
)
from creditline.retries import RetryPolicy
from creditline.settings import read_settings

if TYPE_CHECKING:
    from creditline.index import LoadOutcome
    from creditline.release import Release

_WATCH_SECONDS = 0.5
_ASSEMBLY_SECONDS = 300
_API_KEY_BYTES = 24


class LocalStack:
    """A context manager that starts the services on entry and stops them on exit.

        with LocalStack() as stack:
            channel = grpc.insecure_channel(stack.gateway_target)

    Enter it from a thread that lives as long as the stack. If a service fails to start, the others are
    stopped again.

    Args:
        state_directory: directory of state, logs and data; None: the setting's.
        release_directory: the release to serve; None: the setting's.
        device: device of the models (see `creditline.devices`); None: the setting's.
        services: names of the services to start; all by default.
        replace_live: whether to load the release even if a build that an operator chose is live.
        gateway_ports: ports of the gateway's gRPC and of its REST API; 0: a free one.
        api_key: API keys of the gateway, separated by commas; empty: the setting's, else a random one.
        restarts: how often a service that ended is started again while the stack is watched.
        settings: None: read from the environment.
        report: called with one line for each step.

    Raises:
        Conflict: On entry: a stack already runs in the state directory, or a port is in use.
        Unavailable: On entry: a service did not become healthy; the message holds the end of its log.
        NotReady: On entry: an artifact is missing. At construction: a service is unknown.
    """

    def __init__(
        self,
        *,
        state_directory: Path | None = None,
        release_directory: Path | None = None,
        device: str | None = None,
        services: Collection[str] = SERVICES,
        replace_live: bool = False,
        gateway_ports: tuple[int, int] = (0, 0),
        api_key: str = "",
        restarts: RetryPolicy = RESTARTS,
        settings: LocalSettings | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._settings = settings or read_settings(LocalSettings)
        self._state = StateDirectory(state_directory or self._settings.state_directory)
        self._release_directory = release_directory or self._settings.release_directory
        self._device = checked_setting(device or self._settings.device)
        self._services = known_services(services)
        self._replace_live = replace_live
        self._report = report
        self._gateway_ports = gateway_ports
        self._api_key = api_key or self._settings.api_keys
        self._restarts = Restarts(restarts, report)
        self._processes: list[ServiceProcess] = []
        self._plan: StackPlan | None = None
        self._ownership: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def directory(self) -> Path:
        """Directory of state, logs and data."""
        return self._state.path

    @property
    def gateway_target(self) -> str:
        """host:port of the gateway's gRPC."""
        return self._started_plan.gateway_target

    @property
    def gateway_url(self) -> str:
        """URL of the gateway's REST API and page."""
        return self._started_plan.gateway_url

    @property
    def embedder_target(self) -> str:
        """host:port of the embedder's gRPC."""
        return self._started_plan.embedder_target

    @property
    def qdrant_target(self) -> str:
        """host:port of Qdrant's gRPC."""
        return self._started_plan.qdrant_target

    @property
    def qdrant_port(self) -> int:
        """Qdrant's gRPC port on the loopback address."""
        return self._started_plan.ports.qdrant

    @property
    def broker_url(self) -> str:
        """URL of the Redis that carries jobs."""
        return self._started_plan.broker_url

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self._started_plan.ledger_url

    @property
    def metrics_addresses(self) -> dict[str, str]:
        """host:port of the metrics of gateway, embedder and teacher, of those that run, by service."""
        ports = self._started_plan.ports
        addresses = {
            "gateway": ports.gateway_http,
            "embedder": ports.embedder_metrics,
            "teacher": ports.teacher_metrics,
        }
        return {name: f"{LOOPBACK}:{port}" for name, port in addresses.items() if name in self._services}

    @property
    def api_key(self) -> str:
        """An API key that the gateway accepts."""
        return self._started_plan.api_key.split(",")[0].strip()

    @property
    def release_directory(self) -> Path | None:
        """The release that is served; None if no service needs one."""
        return self._started_plan.release_directory

    @property
    def generator_directory(self) -> Path | None:
        """The generator's pipeline; None if no service needs one."""
        return self._started_plan.generator_directory

    @property
    def generator_adapters(self) -> tuple[str, ...]:
        """Adapters merged into the generator, `FILE` or `FILE:strength`."""
        return self._started_plan.generator_adapters

    @property
    def environment(self) -> dict[str, str]:
        """The services' settings as environment variables, for other processes that use the stack."""
        return self._started_plan.environment()

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each service's guardian; SIGTERM to it ends the service gracefully."""
        return {process.plan.name: process.pid for process in self._processes}

    def start(self) -> None:
        """Start the services in dependency order. Raises as the class describes for entry."""
        self._ownership = self._state.own()
        try:
            self._plan = self._make_plan()
            self._bring_up()
            self._state.write(self._stack_state())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the services in reverse order; safe to call twice."""
        while self._processes:
            process = self._processes[-1]
            process.stop()
            self._processes.pop()
            self._report(f"{process.plan.name} stopped")
        if self._ownership is not None:
            self._state.forget()
            os.close(self._ownership)
            self._ownership = None

    def watch(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Block while the services run; a service that ends is started again after a delay.

        Args:
            until: checked twice a second; the method returns once it is true.

        Raises:
            Unavailable: A service ended more often than it is restarted; the message holds the end of its
                log.
        """
        while not until():
            restarted = [self._restarts.keep_running(process) for process in self._processes]
            if any(restarted):
                self._state.write(self._stack_state())
            time.sleep(_WATCH_SECONDS)

    @property
    def _started_plan(self) -> StackPlan:
        if self._plan is None:
            raise NotReady("the local stack has not been started; enter it with a `with` statement")
        return self._plan

    def _make_plan(self) -> StackPlan:
        release, settings = self._find_release(), self._settings
        return StackPlan(
            services=self._services,
            ports=StackPorts.free().with_gateway(*self._gateway_ports),
            directory=self.directory,
            release_directory=release.directory if release else None,
            generator_directory=self._find_generator(release),
            generator_adapters=self._find_adapters(release),
            corpus_file=corpus_place(release, settings.corpus_file) if release else settings.corpus_file,
            teacher_artifacts=self._find_artifacts(release),
            device=self._device,
            api_key=self._api_key or secrets.token_urlsafe(_API_KEY_BYTES),
        )

    def _find_release(self) -> Release | None:
        """The given release, or the package's own if a service needs one. Raises NotReady."""
        if self._release_directory is None and not self._services & {"embedder", "gateway", "teacher"}:
            return None
        from creditline.release import open_release, reference_release_directory

        return open_release((self._release_directory or reference_release_directory()).resolve())

    def _find_generator(self, release: Release | None) -> Path | None:
        """The generator of the settings or of the release; the reference generator is assembled here.

        Raises:
            NotReady: The release has a generator of its own that is missing.
        """
        given = self._settings.generator_directory
        if "teacher" not in self._services or release is None:
            return given.resolve() if given else None
        found = generator_place(release, given)
        if found is not None:
            return found.resolve()
        directory = self.directory / "generator"
        self._report("generator: assembling the reference pipeline")
        self._assemble(directory)
        return directory

    def _find_adapters(self, release: Release | None) -> tuple[str, ...]:
        """Adapters of the settings' generator, or of the release's. Raises NotReady if a file is missing."""
        listed = listed_adapters(self._settings.generator_adapters)
        if "teacher" not in self._services or release is None:
            return listed
        return generator_adapters(release, self._settings.generator_directory, listed)

    def _find_artifacts(self, release: Release | None) -> Path | None:
        """The teacher's statistics. Raises NotReady if the release has its own and they are missing."""
        given = self._settings.teacher_artifacts
        if "teacher" not in self._services or release is None:
            return given.resolve() if given else None
        return teacher_place(release, given)

    def _assemble(self, directory: Path) -> None:
        """Run the assembly in a separate process, to keep torch out of this one. Raises NotReady."""
        command = [sys.executable, "-m", "creditline.generator.assembly", "--output", str(directory)]
        log = self._state.log("generator")
        try:
            with log.open("wb") as output:
                subprocess.run(
                    command, stdout=output, stderr=subprocess.STDOUT, timeout=_ASSEMBLY_SECONDS, check=True
                )
        except subprocess.SubprocessError as failure:
            last = (log.read_text().splitlines() or [str(failure)])[-1]
            raise NotReady(
                f"the reference generator could not be assembled: {last} (full log: {log})",
                field="generator_directory",
            ) from failure

    def _bring_up(self) -> None:
        stores, models, gateway = START_ORDER
        self._await_all(self._start_all(stores))
        loading = self._start_all(models)
        release_directory = self._started_plan.release_directory
        if "qdrant" in self._services and release_directory is not None:
            self._fill_index(release_directory)
        self._await_all(loading)
        self._await_all(self._start_all(gateway))

    def _start_all(self, names: Collection[str]) -> list[ServiceProcess]:
        """Start the services that belong to this stack, without waiting for them."""
        return [self._start_service(name) for name in names if name in self._services]

    def _start_service(self, name: str) -> ServiceProcess:
        plan = self._started_plan.service(name)
        self._report(f"{name} starting at {plan.address}")
        process = ServiceProcess(plan, self._state.log(name))
        self._processes.append(process)
        return process

    def _await_all(self, processes: list[ServiceProcess]) -> None:
        for process in processes:
            seconds = process.wait_until_healthy()
            self._report(f"{process.plan.name} healthy after {seconds:.1f} s")

    def _fill_index(self, release_directory: Path) -> None:
        """Load the release, unless it is loaded already or a build that an operator chose is live.

        Works withdrawn in the ledger are left out.
        """
        from creditline.index import WorkIndex, load_release
        from creditline.ledger import Ledger
        from creditline.release import open_release

        release = open_release(release_directory)
        with Ledger.open(self.ledger_url) as ledger:
            withdrawn = ledger.withdrawn()
        with contextlib.closing(WorkIndex.connect(LOOPBACK, self.qdrant_port)) as index:
            done = load_release(
                release,
                lambda: corpus_of(release, self._settings.corpus_file),
                index,
                withdrawn,
                replace_live=self._replace_live,
            )
        self._report(_load_message(done, release))

    def _stack_state(self) -> StackState:
        plan = self._started_plan
        return StackState(
            supervisor=os.getpid(),
            api_key=self.api_key,
            gateway_target=plan.gateway_target,
            gateway_url=plan.gateway_url,
            embedder_target=plan.embedder_target,
            qdrant_target=plan.qdrant_target,
            broker_url=plan.broker_url,
            ledger_url=plan.ledger_url,
            services=tuple(self._service_states()),
        )

    def _service_states(self) -> Iterator[ServiceState]:
        for process in self._processes:
            plan = process.plan
            restarts = self._restarts.count(plan.name)
            yield ServiceState(plan.name, process.pid, plan.address, str(process.log), restarts)


def _load_message(done: LoadOutcome, release: Release) -> str:
    """One line on the outcome of loading the release."""
    match done.action:
        case "live build kept":
            return (
                f"index: {done.live} is live and was not made by release {release.name}, or was changed;"
                " it is left as it is (--replace-live replaces it)"
            )
        case "already there":
            return f"index holds the {release.works} works of {release.name}"
    return f"index filled with the {release.works} works of {release.name}"
