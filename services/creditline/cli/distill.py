"""`creditline distill`: a release from one configuration file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from creditline.cli.device import AUTO, DeviceOption, chosen_device

if TYPE_CHECKING:
    from creditline.distillation.pipeline import Distillation

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
    labels_round: Annotated[
        int, typer.Option("--round", help="With --shard: the second round, once the first is labelled.")
    ] = 1,
    celery: Annotated[
        bool,
        typer.Option(help="Label by the teacher's workers, one job a part; they must see the output."),
    ] = False,
    device: DeviceOption = AUTO,
) -> None:
    """Queries, candidates, labels, training, calibration, agreement, release; each stage resumes."""
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
    """Hand out one job for each part, and wait for all; Ctrl-C leaves those that are handed out."""
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
        "config": distillation.config.anywhere(),
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
            f"workers: part {number}/{parts}, {seconds:.0f} s; about"
            f" {seconds / number * (parts - number):.0f} s are left",
            markup=False,
        )
