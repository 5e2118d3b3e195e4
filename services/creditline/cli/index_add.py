"""`creditline index add`: add works to a live release that a generator was stated to be trained on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from creditline.cli.connection import StateOption
from creditline.cli.index_connection import IndexServices, LedgerOption, QdrantOption
from creditline.cli.index_ingest import embedder_for, print_report, refuse_collisions, run_job
from creditline.errors import InvalidInput, NotReady

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.index import WorkIndex
    from creditline.ledger import AdditionRecord, Ledger
    from creditline.release import Release

_console = Console(soft_wrap=True, highlight=False)
_CHECK_SECONDS = 3_600.0
_NAME_DIGITS = 16


def add(
    source: Annotated[Path, typer.Argument(help="Works with pictures and captions, in any format.")],
    to: Annotated[str, typer.Option("--to", help="Directory or name of the release.")],
    trained_on: Annotated[
        str,
        typer.Option(
            "--trained-on",
            help="Fingerprint of the generator that was trained on these works: you state that it was.",
        ),
    ],
    requested_by: Annotated[
        str, typer.Option("--by", help="Who states it, kept in the ledger permanently.")
    ] = "",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Then have the teacher label a small sample, to see if the calibration still holds.",
        ),
    ] = False,
    check_queries: Annotated[int, typer.Option(min=2, help="Number of pictures of that check.")] = 8,
    check_works: Annotated[int, typer.Option(min=4, help="Number of works labelled for each of them.")] = 48,
    kind: Annotated[str | None, typer.Option(help="Format of the source; detected by default.")] = None,
    embedder: Annotated[
        str | None, typer.Option(help="HOST:PORT of the embedder; defaults to the running local stack.")
    ] = None,
    packed: Annotated[
        Path | None,
        typer.Option(
            help="Directory for a copy of the works, from which the teacher audits them; it must see the same"
            " path. Defaults to the local stack's state, else to COLLECTION.additions."
        ),
    ] = None,
    optimize: Annotated[bool, typer.Option(help="Build the search graph at the end.")] = True,
    qdrant: QdrantOption = None,
    ledger: LedgerOption = None,
    state_directory: StateOption = None,
) -> None:
    """Add works to a live release, while it serves.

    A work that a generator never saw is owed nothing. The statement that it was trained on these works is
    recorded in the ledger, and only its pictures owe them anything. An interrupted call resumes; a source
    that has grown is continued. Works of people who have withdrawn are left out of answers.
    """
    from creditline.ledger.additions import check_statement

    check_statement(trained_on, requested_by)
    services = IndexServices(qdrant, ledger, state_directory=state_directory)
    release = _release(to)
    with services.open_ledger() as opened, services.connect() as index:
        build = _live_build(index, release)
        statement = _stated(
            opened,
            release,
            source,
            kind,
            trained_on,
            requested_by,
            _packing_directory(packed, services, build),
        )
        if opened.additions(release.name).is_added(statement.id):
            _console.print(f"addition {statement.id} is complete already")
        else:
            _write(opened, index, services, build, release, statement, source, kind, embedder)
            if optimize:
                _console.print("building the search graph; searches continue meanwhile")
                index.optimize(build)
        _console.print(f"{build}: {index.count(build):,} works")
    if check:
        _check(services, release, statement, check_queries, check_works)


def _release(to: str) -> Release:
    """The release at a directory, or the one in use if that is its name."""
    from creditline.release import open_release, reference_release_directory

    if Path(to).is_dir():
        return open_release(Path(to))
    release = open_release(reference_release_directory())
    if to not in (release.name, release.collection):
        raise NotReady(
            f"there is no release at {to!r}, and the release in use is {release.name!r}; give --to the"
            " directory of a release, or that name",
            field="to",
        )
    return release


def _live_build(index: WorkIndex, release: Release) -> str:
    build = index.aliases().get(release.collection)
    if build is None:
        raise NotReady(
            f"release {release.name!r} is not loaded; load it with `creditline index load --release"
            f" {release.directory}`",
            field="to",
        )
    return build


def _packing_directory(packed: Path | None, services: IndexServices, build: str) -> Path:
    if packed is not None:
        return packed.resolve()
    stack = services.stack_directory
    return (stack / "additions" if stack else Path(f"{build}.additions")).resolve()


def _stated(
    ledger: Ledger,
    release: Release,
    source: Path,
    kind: str | None,
    generator: str,
    requested_by: str,
    directory: Path,
) -> AdditionRecord:
    """The recorded statement about these works; made now, with a packed copy, unless it exists."""
    from creditline.corpus.sources import open_source
    from creditline.ledger import AdditionKind

    opened = open_source(source, kind=kind)
    for known in ledger.additions(release.name).of_generator(generator).statements:
        if known.content.get("source_fingerprint") == opened.fingerprint:
            _console.print(f"resuming addition {known.id}, stated on {known.created:%Y-%m-%d %H:%M} UTC")
            return known
    corpus, content = _packed(source, kind, directory)
    statement = ledger.record_addition(
        AdditionKind.STATED,
        release=release.name,
        generator=generator,
        requested_by=requested_by,
        content={
            **content,
            "source": opened.name,
            "source_kind": opened.kind,
            "source_fingerprint": opened.fingerprint,
        },
    )
    _console.print(
        f"addition {statement.id}: stated that generator {generator[:_NAME_DIGITS]}… was trained on"
        f" {len(corpus):,} works of {opened.name}"
    )
    return statement


def _packed(source: Path, kind: str | None, directory: Path) -> tuple[Corpus, dict[str, Any]]:
    """Copy the works that have pictures into one file, from which the teacher scores them."""
    from creditline.corpus.sources import open_source
    from creditline.corpus.works import Corpus, Work, write_corpus
    from creditline.files import replace_file

    opened = open_source(source, kind=kind)
    works: dict[str, Work] = {}
    broken = without_picture = 0
    for found in (found for part in opened.parts() for found in opened.read(part)):
        if found.work is None:
            broken += 1
        elif not found.work.thumbnail:
            without_picture += 1
        else:
            works.setdefault(found.work.id, found.work)
    if not works:
        raise InvalidInput(
            f"{source} holds no work with a picture, and audits score works by their pictures; give a source"
            " that has them",
            field="source",
        )
    corpus = Corpus(opened.name, tuple(works.values()))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{corpus.fingerprint[:_NAME_DIGITS]}.parquet"
    with replace_file(path, durable=True) as draft:
        write_corpus(corpus, draft)
    counts = {"works": len(works), "broken": broken, "without_picture": without_picture}
    return corpus, {**counts, "packed": str(path), "packed_fingerprint": corpus.fingerprint}


def _write(
    ledger: Ledger,
    index: WorkIndex,
    services: IndexServices,
    build: str,
    release: Release,
    statement: AdditionRecord,
    source: Path,
    kind: str | None,
    embedder: str | None,
) -> None:
    """Write the works into the live build, and record that it is done."""
    from creditline.index import enforce_withdrawals
    from creditline.index.ingest.ingest import Addition
    from creditline.ledger import AdditionKind
    from creditline.teacher.ingest_jobs import IngestJob

    index.create_trained_on_index(build)
    checkpoint = Path(f"{build}.ingest") / f"{source.resolve().name}-{statement.generator[:_NAME_DIGITS]}"
    target = embedder or embedder_for(services, source, kind)
    job = IngestJob(source, build, checkpoint, kind, target)
    addition = Addition(statement.generator, frozenset(release.work_ids()))
    report = run_job(job, index, ledger.withdrawn(), statement.content["works"], addition)
    # Adding takes minutes: apply withdrawals that were made in the meantime.
    enforce_withdrawals(index, ledger.withdrawn(), build)
    ledger.record_addition(
        AdditionKind.ADDED,
        release=release.name,
        generator=statement.generator,
        addition=statement.id,
        content={**asdict(report.total), "collection": build},
    )
    print_report(report, job)
    refuse_collisions(report.run.refused, job)


def _check(
    services: IndexServices, release: Release, statement: AdditionRecord, queries: int, works: int
) -> None:
    """Have a teacher check the calibration, and wait for the outcome."""
    from celery.exceptions import TimeoutError as CeleryTimeout

    from creditline.errors import DeadlineExceeded
    from creditline.jobs.broker import ping_broker
    from creditline.jobs.celery_app import worker_app
    from creditline.jobs.tasks import CHECK_ADDITION_TASK
    from creditline.settings import read_settings
    from creditline.teacher.settings import TeacherSettings

    broker = services.broker_url or read_settings(TeacherSettings).broker_url
    ping_broker(broker)
    message = {"release": release.name, "addition": statement.id, "queries": queries, "works": works}
    sent = worker_app(broker).send_task(CHECK_ADDITION_TASK, kwargs=message)
    _console.print("the teacher labels a small sample; Ctrl-C does not cancel it")
    try:
        found = sent.get(timeout=_CHECK_SECONDS)
    except CeleryTimeout as error:
        raise DeadlineExceeded(
            f"no teacher has finished the check within {_CHECK_SECONDS / 60:.0f} minutes; its outcome is"
            " recorded when one does, and `creditline index add` with --check asks again"
        ) from error
    _console.print(_outcome(found))


def _outcome(found: dict[str, Any]) -> str:
    words = {
        "yes": "the calibration holds for the added works",
        "no": "the calibration does not hold for the added works: answers are marked; make a new release",
    }
    said = words.get(found["holds"], "the sample is too small to tell whether the calibration holds")
    return (
        f"{said} (labelled over expected influence {found['ratio']:.2f}, 95 % interval {found['low']:.2f} to"
        f" {found['high']:.2f}, {found['queries']} pictures of each kind)"
    )
