"""`creditline local`: run all services on this machine."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from creditline.cli.device import AUTO, DeviceOption

if TYPE_CHECKING:
    from creditline.local.stack import LocalStack
    from creditline.local.state import ServiceState

app = typer.Typer(help="Run all services on this machine.", no_args_is_help=True)
_console = Console(soft_wrap=True, highlight=False)

StateOption = Annotated[
    Path | None,
    typer.Option(help="Directory of state, logs and data.", envvar="CREDITLINE_STATE_DIRECTORY"),
]


@app.callback()
def _root() -> None:
    """Run all services on this machine."""


@app.command()
def up(
    state_directory: StateOption = None,
    release: Annotated[
        Path | None, typer.Option(help="Directory of a release; defaults to the release in the package.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Service not to start: redis, qdrant, embedder, teacher or gateway; can be repeated."
        ),
    ] = None,
    replace_live: Annotated[
        bool,
        typer.Option("--replace-live", help="Load the release even if an operator's build is live."),
    ] = False,
    device: DeviceOption = AUTO,
) -> None:
    """Start all services on free loopback ports; Ctrl-C stops them."""
    from creditline.local.services import SERVICES, known_services
    from creditline.local.stack import LocalStack

    # SIGTERM stops the stack in the same way as Ctrl-C. A script that starts the command in the background
    # leaves SIGINT ignored, which Python keeps; a stop by SIGINT must work there too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    wanted = [name for name in SERVICES if name not in known_services(without or [])]
    stack = LocalStack(
        state_directory=state_directory,
        release_directory=release,
        device=device,
        services=wanted,
        replace_live=replace_live,
        report=lambda line: _console.print(f"[dim]·[/] {line}"),
    )
    try:
        with stack:
            _print_addresses(stack)
            stack.watch()
    except KeyboardInterrupt:
        _console.print("all services stopped")


def _print_addresses(stack: LocalStack) -> None:
    addresses = {
        "gateway, gRPC": stack.gateway_target,
        "gateway, REST": stack.gateway_url,
        "API key": stack.api_key if stack.gateway_target else "",
        "embedder": stack.embedder_target,
        "Qdrant, gRPC": stack.qdrant_target,
        "broker": stack.broker_url,
        "ledger": stack.ledger_url,
        "logs": str(stack.directory / "logs"),
    }
    _console.print("\n[bold green]Creditline is up.[/] Ctrl-C stops it.")
    for name, address in addresses.items():
        if address:
            _console.print(f"  {name:14} {address}", markup=False)


@app.command()
def status(state_directory: StateOption = None) -> None:
    """Show the services with address and health; exits with status 1 if one is unhealthy."""
    from creditline.errors import NotReady
    from creditline.local.settings import LocalSettings
    from creditline.local.state import StateDirectory
    from creditline.settings import read_settings

    directory = StateDirectory(state_directory or read_settings(LocalSettings).state_directory)
    state = directory.read()
    if state is None or not directory.is_owned():
        raise NotReady(f"no local stack is running in {directory.path}; start one with `creditline local up`")
    table = Table("service", "address", "healthy")
    healthy = [_is_healthy(service) for service in state.services]
    for service, is_healthy in zip(state.services, healthy, strict=True):
        table.add_row(service.name, service.address, "[green]yes[/]" if is_healthy else "[red]no[/]")
    _console.print(table)
    _console.print(f"logs in {directory.path / 'logs'}", markup=False)
    if not all(healthy):
        raise typer.Exit(1)


def _is_healthy(service: ServiceState) -> bool:
    from creditline.local.health import answers

    return answers(service.name, service.address)
