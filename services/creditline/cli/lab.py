"""`creditline lab`: retrain a small generator on subsets of its works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    help="A small generator that is really retrained on subsets of its works.", no_args_is_help=True
)
_console = Console()


@app.callback()
def _root() -> None:
    """A small generator that is really retrained on subsets of its works."""


@app.command()
def train(
    directory: Annotated[Path, typer.Option(help="Where the lab is kept; a second call resumes.")] = Path(
        "runs/lab"
    ),
    subsets: Annotated[int, typer.Option(help="Stop after that many subsets.", min=1)] = 64,
    workers: Annotated[int, typer.Option(help="Processes, one thread each; as many as there are cores.")] = 2,
) -> None:
    """Train the lab's generator, then one model for every subset and seed (hours; resumable)."""
    from creditline.evaluation.lab.plan import LabPlan
    from creditline.evaluation.lab.retraining import retrain
    from creditline.generator.reference import reference_corpus

    retrain(directory, reference_corpus(), LabPlan(), subsets=subsets, workers=workers, say=_console.print)
