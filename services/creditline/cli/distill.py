"""`creditline distill`: make a release from one configuration file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from creditline.cli.device import AUTO, DeviceOption, chosen_device

if TYPE_CHECKING:
    from creditline.distillation.pipeline import Distillation

app = typer.Typer(help="Make a release from a configuration file.", no_args_is_help=True)
_console = Console()


@app.callback()
def _root() -> None:
    """Make a release from a configuration file."""


@app.command()
def run(
    config: Annotated[
        Path, typer.Argument(help="YAML file; examples are in services/creditline/distillation/configs.")
    ],
    output: Annotated[Path, typer.Option(help="Directory of the stages; a second call resumes.")],
    shard: Annotated[
        str | None,
        typer.Option(help="1/2 labels only the first half; run without --shard afterwards to do the rest."),
    ] = None,
    labels_round: Annotated[
        int,
        typer.Option("--round", help="Labelling round of --shard; 2 needs the first round to be complete."),
    ] = 1,
    celery: Annotated[
        bool,
        typer.Option(help="Label in Celery workers, one job per part; they must share the output directory."),
    ] = False,
    device: DeviceOption = AUTO,
) -> None:
    """Run all stages: queries, candidates, labels, training, calibration, agreement and release.

    Complete stages are skipped, so that a second call resumes.
    """
    from creditline.distillation.labels.labelling import Shard
    from creditline.distillation.pipeline import Distillation
    from creditline.distillation.run_config import read_config

    distillation = Distillation(
        read_config(config),
        output,
        lambda line: _console.print(line, markup=False),
        device=chosen_device(device),
    )
    if shard is not None:
        distillation.label_shard(Shard.parse(shard), labels_round)
        return
    if celery:
        for number in range(1, distillation.rounds + 1):
            _label_by_workers(distillation, number)
    release = distillation.run()
    for name, value in release.figures.items():
        _console.print(f"{name:26s} {value:.4g}", markup=False)
    _console.print(f"{release.directory}: release {release.name}, {release.works} works", markup=False)


def _label_by_workers(distillation: Distillation, labels_round: int) -> None:
    """Queue one job for each part and wait for all; Ctrl-C does not cancel queued jobs."""
    from creditline.jobs.broker import ping_broker
    from creditline.jobs.celery_app import worker_app
    from creditline.jobs.tasks import LABEL_TASK
    from creditline.settings import read_settings
    from creditline.teacher.settings import TeacherSettings

    settings = read_settings(TeacherSettings)
    ping_broker(settings.broker_url)
    app = worker_app(settings.broker_url)
    parts = distillation.planned_parts(labels_round)
    where = {
        "config": distillation.config.with_absolute_paths(),
        "directory": str(distillation.directory.resolve()),
        "labels_round": labels_round,
    }
    sent = [
        app.send_task(LABEL_TASK, kwargs={**where, "shard": f"{number}/{parts}"})
        for number in range(1, parts + 1)
    ]
    started = time.perf_counter()
    for number, job in enumerate(sent, start=1):
        job.get()
        seconds = time.perf_counter() - started
        _console.print(
            f"workers: part {number}/{parts} done after {seconds:.0f} s; about"
            f" {seconds / number * (parts - number):.0f} s are left",
            markup=False,
        )
