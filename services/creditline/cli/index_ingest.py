"""`creditline index ingest`: a corpus into a collection, resumed where it was stopped."""

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
        Path, typer.Argument(help="A folder, tar shards, Parquet, CLIP features or a datasets directory.")
    ],
    into: Annotated[str, typer.Option(help="The collection; an alias means the build that is live.")],
    kind: Annotated[str | None, typer.Option(help="The source's form, where it is not recognised.")] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the embedder, for pictures; all addresses of HOST share the work. "
            "Without it, features are vectors."
        ),
    ] = None,
    loader: Annotated[str, typer.Option(help="1/2: the first of two that share the source's parts.")] = "1/1",
    celery: Annotated[
        int, typer.Option(help="Let workers do it, in so many jobs; they must see source and checkpoint.")
    ] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Where is kept how far this came; by default COLLECTION.ingest/SOURCE."),
    ] = None,
    plan: PlanOption = None,
    look: Annotated[bool, typer.Option(help="Count the source first, for the time that is left.")] = True,
    optimize: Annotated[bool, typer.Option(help="Build the graph at the end.")] = True,
) -> None:
    """Write a source's works into a collection; a call that was stopped goes on where it was."""
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
            _tell(_run(job, index, _counted(job) if look else None), job)
        if optimize:
            _console.print("building the graph; searches go on meanwhile")
            index.optimize(collection)
        _console.print(f"{collection}: {index.count(collection):,} works")


def _counted(job: IngestJob) -> int:
    """About how many works this loader will meet."""
    from creditline.corpus.sources import open_source, survey

    return survey(open_source(job.source, kind=job.kind), check_pictures=False).works // job.loader.of


def _run(job: IngestJob, index: WorkIndex, expected: int | None) -> IngestReport:
    with _progress(expected) as on_progress:
        return job.run(index, withdrawn_by_ledger(), on_progress)


def _by_workers(jobs: list[IngestJob]) -> None:
    """Hand out one job a loader, and wait for all; Ctrl-C leaves those that are handed out."""
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
        _console.print(f"loader {job.loader.text}: {done['works']:,} works, {done['broken']:,} rows broken")


@contextlib.contextmanager
def _progress(expected: int | None) -> Iterator[index_ingest.ProgressListener]:
    """A bar in a terminal, a line now and then in a log."""
    columns = (
        TextColumn("{task.completed:,.0f} works"),
        BarColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console, disable=not _console.is_terminal) as bar:
        task = bar.add_task("", total=expected, rate=0.0)
        batches = 0

        def tell(progress: index_ingest.Progress) -> None:
            nonlocal batches
            batches += 1
            bar.update(task, completed=progress.works, rate=progress.works_per_second)
            if not _console.is_terminal and batches % _LOG_EVERY == 0:
                _console.print(_line(progress, expected))

        yield tell


def _line(progress: index_ingest.Progress, expected: int | None) -> str:
    left = progress.seconds_left(expected)
    remaining = "" if left is None else f", {left:.0f} s left"
    done = f"{progress.works:,} works, {progress.broken:,} rows broken"
    return f"{done}, {progress.works_per_second:,.0f}/s{remaining}"


def _tell(report: IngestReport, job: IngestJob) -> None:
    _console.print(
        f"{report.written:,} works written into {job.collection} in {report.seconds:.1f} s"
        f" ({report.works_per_second:,.0f}/s); {report.works:,} in all"
    )
    if report.broken:
        _console.print(f"{report.broken:,} rows are no works; {job.checkpoint} lists them with their reasons")
