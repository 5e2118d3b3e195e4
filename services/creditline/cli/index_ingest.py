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
    from creditline.corpus.sources import Source
    from creditline.index import WorkIndex
    from creditline.index import ingest as index_ingest
    from creditline.index.ingest import IngestReport, Loader, WorkVectors

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
        typer.Option(help="HOST:PORT of the embedder, for pictures; without it, features are vectors."),
    ] = None,
    loader: Annotated[str, typer.Option(help="1/2: the first of two that share the source's parts.")] = "1/1",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Where it is kept how far this came; by default a directory named after the collection."
        ),
    ] = None,
    plan: PlanOption = None,
    look: Annotated[bool, typer.Option(help="Count the source first, for the time that is left.")] = True,
    optimize: Annotated[bool, typer.Option(help="Build the graph at the end.")] = True,
) -> None:
    """Write a source's works into a collection; a call that was stopped goes on where it was."""
    from creditline.corpus.sources import open_source, survey

    opened, share = open_source(source, kind=kind), _loader(loader)
    expected = survey(opened, check_pictures=False).works // share.of if look else None
    with contextlib.ExitStack() as stack:
        index = stack.enter_context(connect(plan))
        vectors = stack.enter_context(_vectors(embedder))
        collection = index.aliases().get(into, into)
        _create(index, collection, opened, vectors)
        directory = checkpoint or Path(f"{collection}.ingest")
        report = _run(opened, index, collection, vectors, share, directory, expected)
        _tell(report, collection, directory)
        if optimize:
            _console.print("building the graph; searches go on meanwhile")
            index.optimize(collection)
            _console.print(f"{collection}: {index.count(collection):,} works")


def _loader(text: str) -> Loader:
    from creditline.errors import InvalidInput
    from creditline.index.ingest import Loader

    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and int(number) >= 1):
        raise InvalidInput(f"--loader {text!r} is not of the form 1/2", field="loader")
    return Loader(int(number) - 1, int(of))


@contextlib.contextmanager
def _vectors(embedder: str | None) -> Iterator[WorkVectors]:
    from creditline.index.ingest import AsGiven

    if embedder is None:
        yield AsGiven()
        return
    from creditline.client.work_embedding import WorkEmbedder

    with WorkEmbedder(embedder) as works:
        yield works


def _create(index: WorkIndex, collection: str, source: Source, vectors: WorkVectors) -> None:
    """Make the collection, of the width of the source's first work, when it is not there."""
    from creditline.errors import InvalidInput

    if index.exists(collection):
        return
    rows = (found for part in source.parts() for found in source.read(part))
    first = next((found for found in rows if found.work is not None), None)
    if first is None:
        raise InvalidInput(f"{source.name} holds no work that can be read", field="source")
    index.create(collection, vectors([first]).shape[1])


def _run(
    source: Source,
    index: WorkIndex,
    collection: str,
    vectors: WorkVectors,
    loader: Loader,
    directory: Path,
    expected: int | None,
) -> IngestReport:
    from creditline.index.checkpoint import Checkpoint
    from creditline.index.ingest import Ingest

    withdrawn = withdrawn_by_ledger()
    with _progress(expected) as on_progress:
        job = Ingest(
            source,
            index,
            collection,
            vectors,
            loader,
            withdrawn=withdrawn.leaves_out,
            on_progress=on_progress,
        )
        return job.run(Checkpoint.open(directory, loader.name, belongs_to=job.identity))


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


def _tell(report: IngestReport, collection: str, directory: Path) -> None:
    _console.print(
        f"{report.written:,} works written into {collection} in {report.seconds:.1f} s"
        f" ({report.works_per_second:,.0f}/s); {report.works:,} in all"
    )
    if report.broken:
        _console.print(f"{report.broken:,} rows are no works; {directory} lists them with their reasons")
