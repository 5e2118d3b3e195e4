"""`creditline index ingest`: write a corpus into a collection, resuming an interrupted run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from creditline.cli.connection import StateOption
from creditline.cli.index_connection import (
    IndexServices,
    LedgerOption,
    NoLedgerOption,
    PlanOption,
    QdrantOption,
)
from creditline.errors import Conflict

if TYPE_CHECKING:
    from creditline.corpus.withdrawn import Withdrawn
    from creditline.index import WorkIndex
    from creditline.index.ingest import ingest as index_ingest
    from creditline.index.ingest.checkpoint import Counts
    from creditline.index.ingest.ingest import Addition, IngestReport
    from creditline.teacher.ingest_jobs import IngestJob

_console = Console(soft_wrap=True, highlight=False)
_LOG_EVERY = 20
_CHANGED_SHOWN = 10


def ingest(
    source: Annotated[
        Path, typer.Argument(help="Folder, tar shards, Parquet files, CLIP features or a saved dataset.")
    ],
    into: Annotated[str, typer.Option(help="Collection to write to; it is created if it does not exist.")],
    kind: Annotated[str | None, typer.Option(help="Format of the source; detected by default.")] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the embedder, for pictures; all addresses of HOST share the work. "
            "Defaults to that of the running local stack. The source's own features are used without it."
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
    overwrite: Annotated[
        bool,
        typer.Option(
            "--replace", help="Write over other works that the collection holds under the same ids."
        ),
    ] = False,
    qdrant: QdrantOption = None,
    ledger: LedgerOption = None,
    no_ledger: NoLedgerOption = False,
    state_directory: StateOption = None,
) -> None:
    """Write the works of a source into a collection; an interrupted call resumes where it stopped.

    A source that has grown is continued. The collection stands beside the releases: its works are found by
    `creditline index search`, without a share. `creditline index add` adds works to a live release.
    """
    from creditline.index.ingest.ingest import Loader
    from creditline.teacher.ingest_jobs import IngestJob

    services = IndexServices(qdrant, ledger, no_ledger, state_directory)
    withdrawn = services.withdrawn()
    with services.connect(plan) as index:
        collection = index.aliases().get(into, into)
        _refuse_live(index, collection)
        directory = checkpoint or Path(f"{collection}.ingest") / source.resolve().name
        target = embedder or embedder_for(services, source, kind)
        job = IngestJob(source, collection, directory, kind, target, Loader.parse(loader), overwrite)
        job.create_collection(index)
        if celery:
            refused = _by_workers(job.shares(celery), services)
        else:
            report = run_job(job, index, withdrawn, _counted(job) if look else None)
            print_report(report, job)
            refused = report.run.refused
        if optimize:
            _console.print("building the search graph; searches continue meanwhile")
            index.optimize(collection)
        _console.print(f"{collection}: {index.count(collection):,} works")
    refuse_collisions(refused, job)


def embedder_for(services: IndexServices, source: Path, kind: str | None) -> str | None:
    """Address of the embedder for a source; None where the source brings features of its own."""
    from creditline.corpus.sources import open_source

    return None if open_source(source, kind=kind).has_features else services.embedder_target


def _refuse_live(index: WorkIndex, collection: str) -> None:
    from creditline.index.builds.promotion import live_aliases

    if live := live_aliases(index, collection):
        raise Conflict(
            f"{collection!r} is live as {live[0]!r}, and a work that the generator never saw is owed nothing:"
            " add works that a generator was trained on with `creditline index add SOURCE --to RELEASE"
            " --trained-on FINGERPRINT`, and any others to a collection of their own",
            field="into",
        )


def refuse_collisions(refused: int, job: IngestJob) -> None:
    """End with an error where works were left out because of their ids. Raises Conflict."""
    if refused:
        raise Conflict(
            f"{refused:,} works were not written, because {job.collection!r} holds others under their ids;"
            f" {job.checkpoint} lists them: give them ids of their own, or write over the others with"
            " --replace and another --checkpoint",
            field="source",
        )


def _counted(job: IngestJob) -> int:
    """Approximate number of works of this loader."""
    from creditline.corpus.sources import open_source, survey

    return survey(open_source(job.source, kind=job.kind), check_pictures=False).works // job.loader.of


def run_job(
    job: IngestJob,
    index: WorkIndex,
    withdrawn: Withdrawn,
    expected: int | None,
    addition: Addition | None = None,
) -> IngestReport:
    """Run an ingest job here, with its progress on the terminal."""
    with _progress(expected) as on_progress:
        return job.run(index, withdrawn, on_progress, addition=addition)


def _by_workers(jobs: list[IngestJob], services: IndexServices) -> int:
    """Queue one job for each loader and wait for all; Ctrl-C does not cancel queued jobs.

    Returns:
        Number of works that were refused.
    """
    from creditline.index.ingest.checkpoint import Counts
    from creditline.jobs.broker import ping_broker
    from creditline.jobs.celery_app import worker_app
    from creditline.jobs.tasks import INGEST_TASK
    from creditline.settings import read_settings
    from creditline.teacher.settings import TeacherSettings

    broker = services.broker_url or read_settings(TeacherSettings).broker_url
    ping_broker(broker)
    app = worker_app(broker)
    sent = [app.send_task(INGEST_TASK, kwargs=job.message()) for job in jobs]
    refused = 0
    for job, result in zip(jobs, sent, strict=True):
        done = result.get()
        run = Counts(**done["run"])
        _console.print(f"loader {job.loader.text}: {done['works']:,} works, {done['broken']:,} broken rows")
        _console.print(f"loader {job.loader.text}: {outcomes(run)}")
        _say_changed(done["changed_parts"])
        refused += run.refused
    return refused


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


def print_report(report: IngestReport, job: IngestJob) -> None:
    """Print what one run of an ingest did."""
    _console.print(
        f"{report.written:,} works written into {job.collection} in {report.seconds:.1f} s"
        f" ({report.works_per_second:,.0f}/s); {report.works:,} in total"
    )
    _console.print(f"this run: {outcomes(report.run)}")
    _say_changed(report.changed_parts)
    if report.broken:
        _console.print(f"{report.broken:,} rows hold no work; {job.checkpoint} lists them with the reasons")


def outcomes(counts: Counts) -> str:
    """The numbers of a run's rows by outcome, in words."""
    return (
        f"{counts.written:,} new, {counts.replaced:,} replaced, {counts.kept:,} kept as they were,"
        f" {counts.refused:,} refused (another work has the id), {counts.broken:,} broken,"
        f" {counts.withdrawn:,} left out of answers (withdrawn)"
    )


def _say_changed(parts: Sequence[str]) -> None:
    for part in parts[:_CHANGED_SHOWN]:
        _console.print(Text(f"part {part} has changed since it was read, and was read again"))
    if len(parts) > _CHANGED_SHOWN:
        _console.print(f"{len(parts) - _CHANGED_SHOWN:,} more parts have changed and were read again")
