"""`creditline demo`: generate a picture and print its credit line, using all services."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from creditline.cli.device import AUTO, DeviceOption
from creditline.errors import CreditlineError

DEFAULT_PROMPT = "a red ladybug"
DEFAULT_SEED = 9

_NEXT = (
    "open demo/credit-line.html in a browser",
    'PROMPT="a sailing boat" make demo     for a picture of your own',
    ".venv/bin/creditline local up         keeps all services running, for your own pictures and programs",
)

app = typer.Typer(
    add_completion=False, help="Generate a picture and print its credit line, using all services."
)


@app.command()
def demo(
    prompt: Annotated[
        str, typer.Option(envvar="PROMPT", help="Prompt of the picture.", show_default=True)
    ] = DEFAULT_PROMPT,
    seed: Annotated[
        int, typer.Option(help="Seed of the picture; the same seed gives the same picture.")
    ] = DEFAULT_SEED,
    works: Annotated[
        int, typer.Option("-k", "--works", min=1, max=100, help="Number of works to list.")
    ] = 10,
    output: Annotated[Path, typer.Option(help="Directory for picture, page, drawing and JSON.")] = Path(
        "demo"
    ),
    state_directory: Annotated[Path, typer.Option(help="Directory for the services' logs and data.")] = Path(
        ".creditline/demo"
    ),
    release: Annotated[
        Path | None, typer.Option(help="Directory of a release; defaults to the release in the package.")
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Start all services, generate a picture, attribute it, and audit the answer."""
    from creditline.cli.credit_line.folder import write_credit_line
    from creditline.cli.credit_line.terminal import credit_line_view
    from creditline.cli.demonstration import STEPS, Demonstration, run_demonstration
    from creditline.cli.steps import StepPrinter
    from creditline.local.stack import LocalStack

    console = Console(highlight=False)
    began = time.monotonic()
    steps = StepPrinter(console, STEPS)
    stack = LocalStack(
        state_directory=state_directory, release_directory=release, device=device, report=steps.report
    )
    try:
        line = run_demonstration(Demonstration(prompt, seed, works, device=device), stack, steps)
    except KeyboardInterrupt:
        console.print("Interrupted; all services are stopped.")
        raise typer.Exit(130) from None
    paths = write_credit_line(line, output)
    console.print(credit_line_view(line, in_colour=console.color_system is not None))
    _print_ending(console, paths, time.monotonic() - began)
    if line.audit is None or line.audit.verdict is None:
        raise CreditlineError(
            f"the audit ended without a verdict; see {state_directory / 'logs' / 'teacher.log'}"
        )


def _print_ending(console: Console, paths: tuple[Path, ...], seconds: float) -> None:
    written = ", ".join(str(path) for path in paths)
    console.print(Text(f"Written in {seconds:.0f} s: {written}\n"))
    for what, line in zip(("Next:", "", ""), _NEXT, strict=True):
        console.print(Text(f"{what:6}{line}"), soft_wrap=True)
