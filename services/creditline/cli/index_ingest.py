"""`creditline index ingest`: write a corpus into a collection, resuming an interrupted run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from creditline.cli.index_connection import PlanOption, connect, withdrawn_by_ledger

if TYPE_CHECKING:
    from creditline.index import WorkIndex
    from creditline.index.ingest import ingest as index_ingest
    from creditline.index.ingest.ingest import IngestReport
    from creditline.teacher.ingest_jobs import IngestJob

_console = Console(soft_wrap=True, highlight=False)
_LOG_EVERY = 20


def ingest(
    source: Annotated[
        Path, typer.Argument(help="Folder, tar shards, Parquet files, CLIP features or a saved dataset.")
    ],
    into: Annotated[str, typer.Option(help="Collection to write to; an alias selects its live build.")],
    kind: Annotated[str | None, typer.Option(help="Format of the source; detected by default.")] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the embedder, for pictures; all addresses of HOST share the work. "
            "Without it, the source's features are used as vectors."
        ),
    ] = None,
    loader: Annotated[
        str, typer.Option(help="1/2 is the first of two loaders that divide the source's parts.")
    ] = "1/1",
    celery: Annotated[
        int,
        typer.Option(
            help="Number of jobs for Celery workers, which must share source and checkpoint; 0 runs here."
        ),
    ] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Directory that records progress; defaults to COLLECTION.ingest/SOURCE."),
    ] = None,
    plan: PlanOption = None,
    look: Annotated[
        bool, typer.Option(help="Count the source's works first, to estimate the remaining time.")
    ] = True,
    optimize: Annotated[bool, typer.Option(help="Build the search graph at the end.")] = True,
) -> None:
    """Write the works of a source into a collection; an interrupted call resumes where it stopped."""
    from creditline.index.ingest.ingest import Loader
    from creditline.teacher.ingest_jobs import IngestJob

    with connect(plan) as index:
        collection = index.aliases().get(into, into)
        directory = checkpoint or Path(f"{collection}.ingest") / source.resolve().name
        job = IngestJob(source, collection, directory, kind, embedder, Loader.parse(loader))
        job.create_collection(index)
        if celery:
            _by_workers(job.shares(celery))
        else:
            _report(_run(job, index, _counted(job) if look else None), job)
        if optimize:
            _console.print("building the search graph; searches continue meanwhile")
            index.optimize(collection)
        _console.print(f"{collection}: {index.count(collection):,} works")


def _counted(job: IngestJob) -> int:
    """Approximate number of works of this loader."""
    from creditline.corpus.sources import open_source, survey

    return survey(open_source(job.source, kind=job.kind), check_pictures=False).works // job.loader.of


def _run(job: IngestJob, index: WorkIndex, expected: int | None) -> IngestReport:
    with _progress(expected) as on_progress:
        return job.run(index, withdrawn_by_ledger(), on_progress)


def _by_workers(jobs: list[IngestJob]) -> None:
    """Queue one job for each loader and wait for all; Ctrl-C does not cancel queued jobs."""
    from creditline.jobs.broker import ping_broker
    from creditline.jobs.celery_app import worker_app
    from creditline.jobs.tasks import INGEST_TASK
    from creditline.settings import read_settings
    from creditline.teacher.settings import TeacherSettings

    settings = read_settings(TeacherSettings)
    ping_broker(settings.broker_url)
    app = worker_app(settings.broker_url)
    sent = [app.send_task(INGEST_TASK, kwargs=job.message()) for job in jobs]
    for job, result in zip(jobs, sent, strict=True):
        done = result.get()
        _console.print(f"loader {job.loader.text}: {done['works']:,} works, {done['broken']:,} broken rows")


@contextlib.contextmanager
def _progress(expected: int | None) -> Iterator[index_ingest.ProgressListener]:
    """A progress bar in a terminal; a line every 20 batches in a log."""
    columns = (
        TextColumn("{task.completed:,.0f} works"),
        BarColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console, disable=not _console.is_terminal) as bar:
        task = bar.add_task("", total=expected, rate=0.0)
        batches = 0

        def on_progress(progress: index_ingest.Progress) -> None:
            nonlocal batches
            batches += 1
            bar.update(task, completed=progress.works, rate=progress.works_per_second)
            if not _console.is_terminal and batches % _LOG_EVERY == 0:
                _console.print(_line(progress, expected))

        yield on_progress


def _line(progress: index_ingest.Progress, expected: int | None) -> str:
    left = progress.seconds_left(expected)
    remaining = "" if left is None else f", {left:.0f} s remaining"
    done = f"{progress.works:,} works, {progress.broken:,} broken rows"
    return f"{done}, {progress.works_per_second:,.0f}/s{remaining}"


def _report(report: IngestReport, job: IngestJob) -> None:
    _console.print(
        f"{report.written:,} works written into {job.collection} in {report.seconds:.1f} s"
        f" ({report.works_per_second:,.0f}/s); {report.works:,} in total"
    )
    if report.broken:
        _console.print(f"{report.broken:,} rows hold no work; {job.checkpoint} lists them with the reasons")
