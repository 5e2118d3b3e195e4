"""`creditline local`: run all services on this machine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from creditline.cli.device import AUTO, DeviceOption

if TYPE_CHECKING:
    from creditline.local.stack import LocalStack
    from creditline.local.state import ServiceState, StateDirectory

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
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the gateway's gRPC; 0: a free one.")
    ] = 0,
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the REST API and page; 0: a free one.")
    ] = 0,
    api_key: Annotated[
        str, typer.Option(help="API keys of the gateway, separated by commas; by default a random one.")
    ] = "",
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", "-d", help="Return once all services run; `creditline local down` stops them."
        ),
    ] = False,
    device: DeviceOption = AUTO,
) -> None:
    """Start all services on loopback ports; Ctrl-C or `creditline local down` stops them.

    A service that ends is started again, a few times, with growing delays.
    """
    from creditline.local.services import SERVICES, known_services
    from creditline.local.stack import LocalStack

    if detach:
        _start_detached(_state_directory(state_directory))
        return
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
        gateway_ports=(port, http_port),
        api_key=api_key,
        report=lambda line: _console.print(f"[dim]·[/] {line}"),
    )
    try:
        with stack:
            _print_addresses(stack)
            stack.watch()
    except KeyboardInterrupt:
        _console.print("all services stopped")


@app.command()
def down(state_directory: StateOption = None) -> None:
    """Stop the local stack of a state directory, wherever it was started."""
    from creditline.local.detached import stop_stack

    stop_stack(_state_directory(state_directory))
    _console.print("all services stopped")


def _state_directory(chosen: Path | None) -> StateDirectory:
    from creditline.local.settings import LocalSettings
    from creditline.local.state import StateDirectory
    from creditline.settings import read_settings

    return StateDirectory(chosen or read_settings(LocalSettings).state_directory)


def _start_detached(directory: StateDirectory) -> None:
    """Run this command again without `--detach` in a session of its own, and wait until it is up."""
    from creditline.local.detached import start_stack

    arguments = [word for word in sys.argv[1:] if word not in ("--detach", "-d")]
    log = start_stack(arguments, directory, report=lambda line: _console.print(line, markup=False))
    _console.print(f"\n`creditline local down` stops it; its output goes to {log}", markup=False)


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
    # A detached stack writes to a log, and Ctrl-C does not reach it.
    _console.print(
        "\n[bold green]Creditline is up.[/]" + (" Ctrl-C stops it." if _console.is_terminal else "")
    )
    for name, address in addresses.items():
        if address:
            _console.print(f"  {name:14} {address}", markup=False)


@app.command()
def status(state_directory: StateOption = None) -> None:
    """Show the services with address and health; exits with status 1 if one is unhealthy."""
    from creditline.errors import NotReady

    directory = _state_directory(state_directory)
    state = directory.read()
    if state is None or not directory.is_owned():
        raise NotReady(f"no local stack is running in {directory.path}; start one with `creditline local up`")
    table = Table("service", "address", "healthy", "restarts")
    healthy = [_is_healthy(service) for service in state.services]
    for service, is_healthy in zip(state.services, healthy, strict=True):
        shown = "[green]yes[/]" if is_healthy else "[red]no[/]"
        table.add_row(service.name, service.address, shown, str(service.restarts))
    _console.print(table)
    _console.print(f"logs in {directory.path / 'logs'}", markup=False)
    if not all(healthy):
        raise typer.Exit(1)


def _is_healthy(service: ServiceState) -> bool:
    from creditline.local.health import answers

    return answers(service.name, service.address)
