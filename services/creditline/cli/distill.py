"""`creditline distill`: a release from one configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="A release from a configuration: queries to release.", no_args_is_help=True)
_console = Console()


@app.callback()
def _root() -> None:
    """A release from a configuration: queries to release."""


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A YAML file; examples are in distillation/configs.")],
    output: Annotated[Path, typer.Option(help="Where the stages go; a second call goes on.")],
    shard: Annotated[
        str | None,
        typer.Option(help="1/2: only label the first half; a last call without it does all the rest."),
    ] = None,
) -> None:
    """Queries, labels, training, calibration, agreement, release: each stage resumes where it was cut off."""
    from creditline.distillation.labelling import Shard
    from creditline.distillation.pipeline import Distillation
    from creditline.distillation.run_config import read_config

    distillation = Distillation(read_config(config), output, lambda line: _console.print(line, markup=False))
    if shard is not None:
        distillation.label_shard(Shard.parse(shard))
        return
    release = distillation.run()
    for name, value in release.figures.items():
        _console.print(f"{name:26s} {value:.4g}", markup=False)
    _console.print(f"{release.directory}: release {release.name}, {release.works} works", markup=False)
