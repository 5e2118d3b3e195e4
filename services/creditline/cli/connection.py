"""Connection to a gateway: its command line options, and the client that they select."""

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
        help="HOST:PORT of the gateway's gRPC API; defaults to the running local stack.",
        envvar="CREDITLINE_GATEWAY_TARGET",
    ),
]
KeyOption = Annotated[str | None, typer.Option(help="API key of the gateway.", envvar="CREDITLINE_API_KEY")]
StateOption = Annotated[
    Path | None,
    typer.Option(help="State directory of the local stack.", envvar="CREDITLINE_STATE_DIRECTORY"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def gateway_client(
    target: str | None, api_key: str | None, state_directory: Path | None, *, encoder: Path | None = None
) -> CreditlineClient:
    """A client of the gateway that the options select.

    Args:
        target: `host:port` of the gateway; None selects the running local stack, or the default address
            if there is none. All but the local stack are reached by TLS where CREDITLINE_GATEWAY_TLS_CA
            names the authorities of their certificates.
        api_key: API key; None uses that of the local stack.
        state_directory: State directory of the local stack; None uses its settings.
        encoder: Directory of the release that embeds private queries; None: see `CreditlineClient`.
    """
    from creditline.client import CreditlineClient
    from creditline.credentials.settings import GatewayTlsSettings
    from creditline.local.settings import LocalSettings
    from creditline.local.state import StateDirectory
    from creditline.settings import read_settings

    if target is None:
        state = StateDirectory(state_directory or read_settings(LocalSettings).state_directory).read()
        if state is not None and state.gateway_target:
            return CreditlineClient(state.gateway_target, api_key=api_key or state.api_key, encoder=encoder)
    tls = read_settings(GatewayTlsSettings).tls_to_gateway
    return CreditlineClient(target or _DEFAULT_TARGET, api_key=api_key, tls=tls, encoder=encoder)
