"""How commands reach a gateway: the options for it, and the client they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from creditline.client import CreditlineClient

_DEFAULT_TARGET = "127.0.0.1:7100"

TargetOption = Annotated[
    str | None,
    typer.Option(
        help="host:port of the gateway's gRPC; by default the running local stack's.",
        envvar="CREDITLINE_GATEWAY_TARGET",
    ),
]
KeyOption = Annotated[
    str | None, typer.Option(help="A key that the gateway knows.", envvar="CREDITLINE_API_KEY")
]
StateOption = Annotated[
    Path | None,
    typer.Option(help="Where a local stack keeps its state.", envvar="CREDITLINE_STATE_DIRECTORY"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def gateway_client(target: str | None, api_key: str | None, state_directory: Path | None) -> CreditlineClient:
    """To the named gateway, else to the local stack that runs, else to the default address."""
    from creditline.client import CreditlineClient
    from creditline.local.settings import LocalSettings
    from creditline.local.state import StateDirectory
    from creditline.settings import read_settings

    if target is None:
        state = StateDirectory(state_directory or read_settings(LocalSettings).state_directory).read()
        if state is not None and state.gateway_target:
            return CreditlineClient(state.gateway_target, api_key=api_key or state.api_key)
    return CreditlineClient(target or _DEFAULT_TARGET, api_key=api_key)
