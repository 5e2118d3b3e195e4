"""`creditline attribution`: recorded answers, marked with later withdrawals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from creditline.cli.connection import KeyOption, StateOption, TargetOption, gateway_client

app = typer.Typer(help="Show recorded answers, marked with later withdrawals.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Show recorded answers, marked with later withdrawals."""


@app.command()
def show(
    attribution_id: Annotated[str, typer.Argument(help="Id of the answer.")],
    output: Annotated[
        Path | None, typer.Option(help="Also write picture, page, drawing and JSON to this directory.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    target: TargetOption = None,
    api_key: KeyOption = None,
    state_directory: StateOption = None,
) -> None:
    """Print a credit line as it was served, with works that were withdrawn since then marked."""
    from creditline.cli.credit_line.document import credit_line_document
    from creditline.cli.credit_line.folder import write_credit_line
    from creditline.cli.credit_line.recorded import recorded_line
    from creditline.cli.credit_line.terminal import credit_line_view

    with gateway_client(target, api_key, state_directory) as client:
        line = recorded_line(client, attribution_id)
    console = Console(highlight=False)
    if as_json:
        console.print_json(credit_line_document(line))
    else:
        console.print(credit_line_view(line, in_colour=console.color_system is not None))
    if output is not None:
        written = ", ".join(str(path) for path in write_credit_line(line, output))
        Console(stderr=True, highlight=False).print(Text(f"Written: {written}"))
