"""The state directory of a local stack: its supervisor, its services' addresses, and their logs."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from creditline.errors import Conflict, InvalidInput
from creditline.files import replace_file


@dataclass(frozen=True)
class ServiceState:
    """A running service."""

    name: str
    """Name of the service."""
    pid: int
    """Process id of its guardian."""
    address: str
    """Address for messages and health probes."""
    log: str
    """Path of its log."""
    restarts: int = 0
    """Number of times that it was started again after it had ended."""


@dataclass(frozen=True)
class StackState:
    """A running stack, as other processes need it. The address of a service that is left out is empty."""

    supervisor: int
    """Process id of the supervisor."""
    api_key: str
    """An API key that the gateway accepts."""
    gateway_target: str
    """host:port of the gateway's gRPC."""
    gateway_url: str
    """URL of the gateway's REST API and page."""
    embedder_target: str
    """host:port of the embedder's gRPC."""
    qdrant_target: str
    """host:port of Qdrant's gRPC."""
    broker_url: str
    """URL of the Redis that carries jobs."""
    ledger_url: str
    """SQLAlchemy URL of the ledger."""
    services: tuple[ServiceState, ...]
    """The services that run."""


class StateDirectory:
    """A directory with `state.json`, `logs/` and the services' data, owned by one supervisor at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @property
    def _state_file(self) -> Path:
        return self.path / "state.json"

    def own(self) -> int:
        """Lock the directory for this process; the returned descriptor holds the lock until it is closed.

        Raises:
            Conflict: Another supervisor owns it.
        """
        (self.path / "logs").mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            owner = self.supervisor()
            raise Conflict(
                f"a local stack already runs in {self.path} (process {owner or 'unknown'}); stop it with"
                " `creditline local down`, or set CREDITLINE_STATE_DIRECTORY to another directory",
                field="state_directory",
            ) from None
        self.forget()
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return descriptor

    def is_owned(self) -> bool:
        """Whether a running supervisor owns the directory."""
        try:
            descriptor = os.open(self.path / "supervisor.lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def supervisor(self) -> int | None:
        """Process id of the running supervisor, also while it is starting or stopping; None without one."""
        if not self.is_owned():
            return None
        try:
            return int((self.path / "supervisor.lock").read_text())
        except ValueError:  # A supervisor of an earlier version, or one that has just locked the file.
            state = self.read()
            return state.supervisor if state else None

    def log(self, service: str) -> Path:
        """Path of a service's log."""
        return self.path / "logs" / f"{service}.log"

    def write(self, state: StackState) -> None:
        """Replace the state file atomically; only its owner may read it, because it holds the API key."""
        with replace_file(self._state_file, durable=True, mode=0o600) as draft:
            draft.write_text(json.dumps(asdict(state), indent=1))

    def read(self) -> StackState | None:
        """The content of the state file; None without one. Raises InvalidInput if it cannot be read."""
        try:
            content = json.loads(self._state_file.read_text())
            services = tuple(ServiceState(**service) for service in content.pop("services"))
            return StackState(services=services, **content)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidInput(
                f"{self._state_file} is not a state file of this version ({error}); delete it",
                field="state_directory",
            ) from error

    def forget(self) -> None:
        """Remove the state file."""
        self._state_file.unlink(missing_ok=True)
