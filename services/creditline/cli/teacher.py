"""`creditline teacher`: prepare what is the same for all queries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="The slow method that is known to be right.", no_args_is_help=True)
_console = Console()


@app.callback()
def _root() -> None:
    """The slow method that is known to be right."""


@app.command()
def prepare(
    generator: Annotated[Path, typer.Option(help="A StableDiffusionPipeline directory.")],
    output: Annotated[Path, typer.Option(help="Where the artifacts go; a second call resumes.")],
) -> None:
    """Compute losses, Fisher and gradients of the reference corpus under a generator (about 10 minutes)."""
    from creditline.attribution.teacher import prepare_teacher
    from creditline.generator.pipeline import Generator
    from creditline.generator.reference import reference_corpus

    with Generator.open(generator) as opened:
        prepare_teacher(opened, reference_corpus(), output, _console.print)
    _console.print(f"The teacher is ready: {output}")
