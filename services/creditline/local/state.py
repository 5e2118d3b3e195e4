"""The state directory of a local stack: who runs there, where its services are, and their logs."""

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
    """Where a running service is."""

    name: str
    pid: int
    address: str
    log: str


@dataclass(frozen=True)
class StackState:
    """What another process needs to use a running stack; addresses of services left out are empty."""

    supervisor: int
    api_key: str
    gateway_target: str
    gateway_url: str
    embedder_target: str
    qdrant_target: str
    broker_url: str
    ledger_url: str
    services: tuple[ServiceState, ...]


class StateDirectory:
    """A directory with `state.json`, `logs/`, and the data of the services; one supervisor at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @property
    def _state_file(self) -> Path:
        return self.path / "state.json"

    def own(self) -> int:
        """Take the directory for this process; returns the descriptor that holds it. Raises Conflict."""
        (self.path / "logs").mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            state = self.read()
            owner = f"process {state.supervisor}" if state else "another process, which is still starting"
            raise Conflict(
                f"a local stack already runs in {self.path} ({owner}); stop it with Ctrl-C there, or set "
                "CREDITLINE_STATE_DIRECTORY to another directory",
                field="state_directory",
            ) from None
        self.forget()
        return descriptor

    def is_owned(self) -> bool:
        """Whether a supervisor runs there now."""
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

    def log(self, service: str) -> Path:
        return self.path / "logs" / f"{service}.log"

    def write(self, state: StackState) -> None:
        """Replace the state file in one step; only its owner may read it, for it holds the key."""
        with replace_file(self._state_file, durable=True, mode=0o600) as draft:
            draft.write_text(json.dumps(asdict(state), indent=1))

    def read(self) -> StackState | None:
        """The state of the last stack that came up there; None when there is none. Raises InvalidInput."""
        try:
            held = json.loads(self._state_file.read_text())
            services = tuple(ServiceState(**service) for service in held.pop("services"))
            return StackState(services=services, **held)
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
