"""Resources of the `creditline index` commands: the index, its layout plan, and the withdrawals.

Without options and variables, all of them are those of the running local stack.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from creditline.errors import InvalidInput, NotReady

if TYPE_CHECKING:
    from creditline.corpus.withdrawn import Withdrawn
    from creditline.credentials.qdrant import QdrantCredentials
    from creditline.index import IndexPlan, QdrantSettings, WorkIndex
    from creditline.ledger import Ledger
    from creditline.local.state import StackState, StateDirectory

PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        help="Layout of new collections, as JSON written by `creditline index plan --write`.",
        envvar="CREDITLINE_INDEX_PLAN",
    ),
]
QdrantOption = Annotated[
    str | None,
    typer.Option(
        "--qdrant",
        help="HOST:PORT of Qdrant's gRPC; defaults to CREDITLINE_QDRANT_HOST and CREDITLINE_QDRANT_GRPC_PORT,"
        " then to the running local stack.",
    ),
]
LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        help="Ledger whose withdrawals are applied, such as sqlite:///FILE; defaults to that of the running"
        " local stack.",
        envvar="CREDITLINE_LEDGER_URL",
    ),
]
NoLedgerOption = Annotated[
    bool, typer.Option("--no-ledger", help="Use no ledger: nobody who has withdrawn is left out.")
]
_VARIABLES = ("CREDITLINE_QDRANT_HOST", "CREDITLINE_QDRANT_GRPC_PORT")


@dataclass(frozen=True)
class IndexServices:
    """The Qdrant, ledger and embedder that the options of an `index` command select."""

    qdrant: str | None = None
    """`host:port` of Qdrant's gRPC; None: the environment's, or that of the running local stack."""
    ledger: str | None = None
    """URL of the ledger; None: that of the running local stack, or the user's own if there is one."""
    no_ledger: bool = False
    """Whether the withdrawals are to be ignored."""
    state_directory: Path | None = None
    """State directory of the local stack; None: its settings."""

    @property
    def stack_directory(self) -> Path | None:
        """State directory of the running local stack; None where there is no `stack`."""
        return self._state_directory().path if self.stack else None

    def _state_directory(self) -> StateDirectory:
        from creditline.local.settings import LocalSettings
        from creditline.local.state import StateDirectory
        from creditline.settings import read_settings

        return StateDirectory(self.state_directory or read_settings(LocalSettings).state_directory)

    @cached_property
    def stack(self) -> StackState | None:
        """The running local stack; None if there is none, or if another Qdrant is named."""
        directory = self._state_directory()
        state = directory.read() if directory.is_owned() else None
        if state is None or not state.qdrant_target:
            return None
        named = self._named_target()
        return state if named in (None, state.qdrant_target) else None

    def _named_target(self) -> str | None:
        """`host:port` that the option or the environment names; None: neither does."""
        if self.qdrant:
            return self.qdrant
        if any(os.environ.get(name) for name in _VARIABLES):
            settings = _qdrant_settings()
            return f"{settings.host}:{settings.grpc_port}"
        return None

    def connect(self, plan: Path | None = None) -> WorkIndex:
        """Connect to Qdrant.

        Args:
            plan: File with the layout of new collections; None uses the default layout.

        Raises:
            InvalidInput: The address is not of the form HOST:PORT, or the plan is not valid.
            NotReady: The plan cannot be read.
        """
        from creditline.index import WorkIndex

        host, port = self.qdrant_address
        timeout = _qdrant_settings().timeout_seconds
        return WorkIndex.connect(
            host,
            port,
            timeout,
            plan=read_plan(plan) if plan else None,
            credentials=self.qdrant_credentials,
        )

    @property
    def qdrant_credentials(self) -> QdrantCredentials:
        """API key and TLS of the environment; none for the local stack."""
        from creditline.credentials.qdrant import NO_CREDENTIALS, QdrantCredentialSettings
        from creditline.settings import read_settings

        return NO_CREDENTIALS if self.stack else read_settings(QdrantCredentialSettings).qdrant_credentials

    @property
    def qdrant_address(self) -> tuple[str, int]:
        """Host and gRPC port of Qdrant. Raises InvalidInput for an address that is not HOST:PORT."""
        settings = _qdrant_settings()
        target = self._named_target() or (self.stack.qdrant_target if self.stack else None)
        return _host_and_port(target) if target else (settings.host, settings.grpc_port)

    def ledger_url(self) -> str:
        """URL of the ledger, which exists.

        Raises:
            NotReady: No ledger was found; none is ever created.
        """
        from creditline.ledger import default_ledger_url, ledger_exists

        url = self.ledger or (self.stack.ledger_url if self.stack else default_ledger_url())
        if not ledger_exists(url):
            raise NotReady(
                f"there is no ledger at {url}, so it is unknown who has withdrawn; name the ledger"
                " of the deployment with --ledger URL, or go on without one with --no-ledger",
                field="ledger",
            )
        return url

    def open_ledger(self) -> Ledger:
        """Open the ledger. Raises NotReady where there is none, Unavailable when it does not answer."""
        from creditline.ledger import Ledger

        return Ledger.open(self.ledger_url())

    def withdrawn(self) -> Withdrawn:
        """The works and contributors that are withdrawn in the ledger; nobody with `no_ledger`.

        Raises:
            NotReady: No ledger was found.
            Unavailable: The ledger cannot be reached.
        """
        from creditline.corpus.withdrawn import NOTHING_WITHDRAWN

        if self.no_ledger:
            return NOTHING_WITHDRAWN
        with self.open_ledger() as ledger:
            return ledger.withdrawn()

    @property
    def embedder_target(self) -> str | None:
        """`host:port` of the embedder of the running local stack, or that of CREDITLINE_EMBEDDER_TARGET."""
        configured = os.environ.get("CREDITLINE_EMBEDDER_TARGET")
        return configured or (self.stack.embedder_target if self.stack else None) or None

    @property
    def broker_url(self) -> str | None:
        """URL of the Redis of the running local stack; None: the environment's."""
        return (self.stack.broker_url if self.stack else None) or None


def _qdrant_settings() -> QdrantSettings:
    from creditline.index import QdrantSettings
    from creditline.settings import read_settings

    return read_settings(QdrantSettings)


def _host_and_port(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    if not (host and port.isdecimal() and 1 <= int(port) <= 65_535):
        raise InvalidInput(
            f"{target!r} is not of the form HOST:PORT; name Qdrant's gRPC port, such as 127.0.0.1:6334",
            field="qdrant",
        )
    return host, int(port)


def read_plan(path: Path) -> IndexPlan:
    """Read a layout plan.

    Raises:
        NotReady: The file cannot be read.
        InvalidInput: The file is not a plan.
    """
    from creditline.index import IndexPlan

    try:
        return IndexPlan.from_json(path.read_text())
    except OSError as error:
        raise NotReady(
            f"no plan at {path} ({error.strerror}); make one with `creditline index plan --write {path}`",
            field="plan",
        ) from error
