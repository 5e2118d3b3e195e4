"""`creditline index`: works' vectors in Qdrant."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from creditline.cli.index_connection import PlanOption, connect, withdrawn_by_ledger
from creditline.cli.index_ingest import ingest
from creditline.cli.index_plan import plan

if TYPE_CHECKING:
    from creditline.index import LoadOutcome, WorkIndex
    from creditline.index.builds.promotion import Expected
    from creditline.release import Release

# Number of works of a release that a build is compared with before it is promoted.
_COMPARED_WORKS = 64
app = typer.Typer(help="Works' vectors in Qdrant.", no_args_is_help=True)
_console = Console(soft_wrap=True, highlight=False)

ReleaseOption = Annotated[
    Path | None,
    typer.Option(
        help="A release directory; by default the package's own.", envvar="CREDITLINE_RELEASE_DIRECTORY"
    ),
]
CorpusOption = Annotated[
    Path | None,
    typer.Option(help="The corpus as Parquet; by default the embedded one.", envvar="CREDITLINE_CORPUS_FILE"),
]
ReplaceLiveOption = Annotated[
    bool, typer.Option("--replace-live", help="Also replace a live build that an operator made or chose.")
]


@app.callback()
def _root() -> None:
    """Works' vectors in Qdrant, at CREDITLINE_QDRANT_HOST and CREDITLINE_QDRANT_GRPC_PORT."""


app.command()(ingest)
app.command()(plan)


@app.command()
def load(
    release: ReleaseOption = None,
    corpus: CorpusOption = None,
    layout: PlanOption = None,
    replace_live: ReplaceLiveOption = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build again although the release's build is there.")
    ] = False,
) -> None:
    """Build a release's collection beside the live one, verify it, and let it answer.

    Nothing is done when the release's build is there already, or when the live build is an operator's: one
    that this release did not make, whose works were changed, or to which an operator went back.
    `--replace-live` replaces it. Only builds that the release made are deleted. What the ledger at
    CREDITLINE_LEDGER_URL says is withdrawn is never listed.
    """
    from creditline.corpus.openclipart import embedded_corpus
    from creditline.corpus.works import read_corpus
    from creditline.index import enforced, load_release
    from creditline.release import open_release, reference_release_directory

    # A stopped job removes what it has begun, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    opened = open_release(release or reference_release_directory())
    with connect(layout) as index:
        done = load_release(
            opened,
            lambda: read_corpus(corpus) if corpus else embedded_corpus(),
            index,
            withdrawn_by_ledger(),
            replace_live=replace_live,
            rebuild=rebuild,
        )
        # Loading takes minutes: what was withdrawn meanwhile too.
        enforced(index, withdrawn_by_ledger(), done.live)
        hidden = index.count(done.live, withdrawn=True)
    _console.print(_told(done, opened, hidden))
    for build in done.unpromoted:
        _console.print(
            f"{build} was begun by a load and is not promoted; if no load fills it any more, delete it with"
            f" `creditline index drop {build}`"
        )


def _told(done: LoadOutcome, release: Release, hidden: int) -> str:
    """One sentence on what a load did."""
    alias = release.collection
    match done.action:
        case "built" if done.report:
            return (
                f"{done.live}: {done.report.works} works, {hidden} of them withdrawn, live as {alias};"
                f" its graph finds {done.report.recall:.1%} of the nearest"
            )
        case "promoted":
            return f"{done.live} was built before and is live as {alias} now; {hidden} works are withdrawn"
        case "live build kept":
            return (
                f"{alias} means {done.live}, which release {release.name} did not make or which was changed;"
                " nothing was done (--replace-live loads the release and lets it answer)"
            )
    return (
        f"release {release.name} is loaded already and {alias} means {done.live}; nothing was done"
        " (--rebuild builds it again)"
    )


@app.command()
def show() -> None:
    """List the collections with their width, their works, their aliases and the release that made them."""
    table = Table("collection", "dimension", "works", "withdrawn", "answers as", "made by")
    with connect() as index:
        aliases = index.aliases()
        for name in index.collections():
            meant = sorted(alias for alias, target in aliases.items() if target == name)
            works, withdrawn = index.count(name), index.count(name, withdrawn=True)
            row = (name, str(index.dimension(name)), f"{works:,}", f"{withdrawn:,}", ", ".join(meant))
            table.add_row(*row, _maker(index, name))
    _console.print(table)


def _maker(index: WorkIndex, name: str) -> str:
    """The release whose load made a collection; empty for all others."""
    from creditline.index.builds.ownership import mark_of

    mark = mark_of(index, name)
    if mark is None:
        return ""
    return mark.release if mark.is_whole else f"{mark.release}, unfinished"


@app.command()
def promote(
    build: Annotated[str, typer.Argument(help="A collection, e.g. works-mine.2.")],
    release: ReleaseOption = None,
) -> None:
    """Let a build answer instead of the live one, in one step.

    Withdrawals are carried out in the build first. A build whose vectors the release's encoder did not make
    is refused; without the release, only the dimension is compared, with the live build's.
    """
    from creditline.index.builds.promotion import promote as promote_build
    from creditline.index.withdrawal import enforced

    alias = build.rpartition(".")[0]
    serves = _works_of_release(release, alias)
    with connect() as index:
        enforced(index, withdrawn_by_ledger(), build)
        before = promote_build(index, alias, build, serves=serves)
    _console.print(f"{alias} is {build} now" + (f", and was {before}" if before not in (None, build) else ""))
    if serves is None:
        _console.print(f"Not compared with a release's vectors: name the release of {alias} with --release")


def _works_of_release(directory: Path | None, alias: str) -> Expected | None:
    """Works of the release that answers as `alias`; None when the release at hand is another."""
    from creditline.index.builds.releases import expected_of
    from creditline.release import open_release, reference_release_directory

    opened = open_release(directory or reference_release_directory())
    return expected_of(opened, sample=_COMPARED_WORKS) if opened.collection == alias else None


@app.command()
def rollback(alias: Annotated[str, typer.Argument(help="E.g. works-mine.")]) -> None:
    """Let the build answer again that was live before, in one step."""
    from creditline.errors import NotFound
    from creditline.index.builds.promotion import previous_build, roll_back
    from creditline.index.withdrawal import enforced

    with connect() as index:
        before = previous_build(index, alias)
        if before is None:
            raise NotFound(f"{alias!r} has no build to go back to; load one and promote it", field="alias")
        enforced(index, withdrawn_by_ledger(), before)
        _console.print(f"{alias} is {roll_back(index, alias)} again")


@app.command()
def optimize(collection: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Build the graph of what is not in it yet; searches go on meanwhile."""
    with connect() as index:
        index.optimize(collection)
    _console.print(f"{collection} is built")


@app.command()
def remove(
    collection: Annotated[str, typer.Argument(help="Its name.")],
    works: Annotated[list[str], typer.Argument(help="Ids of works.")],
) -> None:
    """Take works out of a collection; the next build has them again (`creditline withdraw` lasts)."""
    with connect() as index:
        index.remove(collection, works)
        _console.print(f"{collection}: {index.count(collection):,} works")


@app.command()
def drop(collection: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Delete a collection that answers nothing, with all its vectors."""
    from creditline.errors import NotFound
    from creditline.index.builds.promotion import drop_build

    with connect() as index:
        if collection not in index.collections():
            raise NotFound(f"there is no collection {collection!r}; `creditline index show` names them")
        drop_build(index, collection)
    _console.print(f"{collection} deleted")
