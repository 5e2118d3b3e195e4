"""`creditline distill`: make a release of a corpus and a generator."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from creditline.cli.adapters import AdapterOption
from creditline.cli.device import AUTO, DeviceOption, chosen_device
from creditline.cli.quiet_libraries import quiet_libraries

if TYPE_CHECKING:
    from creditline.distillation.pipeline import Distillation

app = typer.Typer(help="Make a release of a corpus and a generator.", no_args_is_help=True)
_console = Console()


@app.callback()
def _root() -> None:
    """Make a release of a corpus and a generator."""


@app.command()
def run(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="YAML file of a run, which the options complete; examples are in"
            " services/creditline/distillation/configs.",
            show_default=False,
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="Works that the generator was trained on: any source that `corpus inspect` reads."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Format of the corpus, as for `corpus inspect`; detected by default."),
    ] = None,
    generator: Annotated[
        Path | None, typer.Option(help="Directory of the generator, a Stable Diffusion pipeline.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="Directory of the finished release; the stages are kept in INTO.run beside it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the release; by default that of its directory.")
    ] = None,
    towers: Annotated[
        str | None, typer.Option(help="Towers: embedded, NAME@CHECKPOINT, or a directory.")
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(help="Number of training queries; chosen by the size of the corpus by default."),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="As few queries as are useful: to try it out, with wide intervals."),
    ] = False,
    consent_override: Annotated[
        str | None,
        typer.Option(
            help="Why works whose statements do not leave training free are used; the model card repeats it."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Directory of the stages; a second call resumes.")
    ] = None,
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
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank",
            help="Also add what re-ranked answers need to the release of --into: compressed gradients of all"
            " works, and their calibration.",
        ),
    ] = False,
    adapter: AdapterOption = None,
    prediction_check: Annotated[
        bool | None,
        typer.Option(
            "--prediction-check/--no-prediction-check",
            help="Check first that the UNet predicts what its scheduler says; on by default.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = AUTO,
) -> None:
    """Make a release: queries, candidates, labels, training, calibration, agreement and release.

    Complete stages are skipped, so that a second call resumes.
    """
    from creditline.distillation.labels.labelling import Shard
    from creditline.distillation.pipeline import Distillation
    from creditline.distillation.release.publication import copy_release, refuse_other_files
    from creditline.distillation.run_config import query_counts, read_config
    from creditline.errors import InvalidInput

    directory = _stages_directory(output, into)
    if into is not None:
        refuse_other_files(into)
    elif rerank:
        raise InvalidInput("--rerank adds to the release of --into; name its directory", field="rerank")
    options: dict[str, object] = {"corpus": corpus, "corpus_kind": kind, "generator": generator}
    options |= {"towers": towers, "consent_override": consent_override}
    options |= {"adapters": adapter or None, "prediction_check": prediction_check}
    named = name if name is not None or config is not None or into is None else _name_of(into)
    distillation = Distillation(
        read_config(config, name=named, queries=query_counts(queries, quick=quick), **options),
        directory,
        lambda line: _console.print(line, markup=False),
        device=chosen_device(device),
    )
    with quiet_libraries():
        if shard is not None:
            distillation.label_shard(Shard.parse(shard), labels_round)
            return
        if celery:
            for number in range(1, distillation.rounds + 1):
                _label_by_workers(distillation, number)
        release = distillation.run()
    if into is not None:
        release = copy_release(release, into)
    if rerank:
        with quiet_libraries():
            release, gain = distillation.add_reranking(release)
        _console.print(gain.sentence(), markup=False)
    for figure, value in release.figures.items():
        _console.print(f"{figure:26s} {value:.4g}", markup=False)
    _console.print(f"{release.directory}: release {release.name}, {release.works} works", markup=False)


def _stages_directory(output: Path | None, into: Path | None) -> Path:
    """Directory of the stages: as given, or beside the release.

    Raises:
        InvalidInput: Neither is given.
    """
    from creditline.errors import InvalidInput

    if output is not None:
        return output
    if into is None:
        raise InvalidInput(
            "no directory is given for the release; name one with --into (or one for the stages with"
            " --output)",
            field="into",
        )
    return into.resolve().with_name(f"{into.resolve().name}.run")


def _name_of(into: Path) -> str:
    """A release's name from its directory: lower case, digits, dots, dashes and underscores."""
    name = re.sub(r"[^a-z0-9._-]+", "-", into.resolve().name.lower()).lstrip("._-")
    return name or "release"


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
