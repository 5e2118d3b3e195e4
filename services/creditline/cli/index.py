"""`creditline index`: manage the works' vectors in Qdrant."""

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
app = typer.Typer(help="Manage the works' vectors in Qdrant.", no_args_is_help=True)
_console = Console(soft_wrap=True, highlight=False)

ReleaseOption = Annotated[
    Path | None,
    typer.Option(
        help="Directory of a release; defaults to the release in the package.",
        envvar="CREDITLINE_RELEASE_DIRECTORY",
    ),
]
CorpusOption = Annotated[
    Path | None,
    typer.Option(
        help="Source of the corpus, as of `corpus inspect`; defaults to the one that the release names.",
        envvar="CREDITLINE_CORPUS_FILE",
    ),
]
ReplaceLiveOption = Annotated[
    bool, typer.Option("--replace-live", help="Also replace a live build that an operator made or chose.")
]


@app.callback()
def _root() -> None:
    """Manage the works' vectors in Qdrant, at CREDITLINE_QDRANT_HOST and CREDITLINE_QDRANT_GRPC_PORT."""


app.command()(ingest)
app.command()(plan)


@app.command()
def load(
    release: ReleaseOption = None,
    corpus: CorpusOption = None,
    layout: PlanOption = None,
    replace_live: ReplaceLiveOption = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build again even if the release's build exists.")
    ] = False,
) -> None:
    """Build a release's collection beside the live one, verify it, and promote it.

    Nothing is done if the release's build already exists, or if the live build is an operator's: one that
    this release did not make, whose works were changed, or that an operator rolled back to. --replace-live
    replaces such a build. Only builds that the release made are deleted. Works that are withdrawn in the
    ledger at CREDITLINE_LEDGER_URL are never listed.
    """
    from creditline.index import enforce_withdrawals, load_release
    from creditline.release import open_release, reference_release_directory
    from creditline.release.parts import corpus_of

    # A job that is terminated removes its unfinished build, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    opened = open_release(release or reference_release_directory())
    with connect(layout) as index:
        done = load_release(
            opened,
            lambda: corpus_of(opened, corpus),
            index,
            withdrawn_by_ledger(),
            replace_live=replace_live,
            rebuild=rebuild,
        )
        # Loading takes minutes: apply withdrawals that were made in the meantime.
        enforce_withdrawals(index, withdrawn_by_ledger(), done.live)
        hidden = index.count(done.live, withdrawn=True)
    _console.print(_outcome_sentence(done, opened, hidden))
    for build in done.unpromoted:
        _console.print(
            f"{build} was created by a load and is not promoted; if no load is filling it, delete it with"
            f" `creditline index drop {build}`"
        )


def _outcome_sentence(done: LoadOutcome, release: Release, hidden: int) -> str:
    """One sentence about the outcome of a load."""
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
                f"{alias} means {done.live}, which release {release.name} did not make or which was"
                " changed; nothing was done (--replace-live loads and promotes the release)"
            )
    return (
        f"release {release.name} is already loaded and {alias} means {done.live}; nothing was done"
        " (--rebuild builds it again)"
    )


@app.command()
def show() -> None:
    """List the collections with dimension, number of works, aliases and the release that made them."""
    table = Table("collection", "dimension", "works", "withdrawn", "answers as", "made by")
    with connect() as index:
        aliases = index.aliases()
        for name in index.collections():
            pointing = sorted(alias for alias, target in aliases.items() if target == name)
            works, withdrawn = index.count(name), index.count(name, withdrawn=True)
            row = (name, str(index.dimension(name)), f"{works:,}", f"{withdrawn:,}", ", ".join(pointing))
            table.add_row(*row, _maker(index, name))
    _console.print(table)


def _maker(index: WorkIndex, name: str) -> str:
    """The release whose load made a collection; empty for other collections."""
    from creditline.index.builds.ownership import mark_of

    mark = mark_of(index, name)
    if mark is None:
        return ""
    return mark.release if mark.is_whole else f"{mark.release}, unfinished"


@app.command()
def promote(
    build: Annotated[str, typer.Argument(help="Name of the build's collection, such as works-mine.2.")],
    release: ReleaseOption = None,
) -> None:
    """Make a build the live one, in one step.

    Withdrawals are applied to the build first. A build whose vectors were not made by the release's encoder
    is refused; without the release, only its dimension is compared with that of the live build.
    """
    from creditline.index.builds.promotion import promote as promote_build
    from creditline.index.withdrawal import enforce_withdrawals

    alias = build.rpartition(".")[0]
    serves = _works_of_release(release, alias)
    with connect() as index:
        enforce_withdrawals(index, withdrawn_by_ledger(), build)
        before = promote_build(index, alias, build, serves=serves)
    former = f", and was {before} before" if before not in (None, build) else ""
    _console.print(f"{alias} is {build} now{former}")
    if serves is None:
        _console.print(f"Not compared with a release's vectors; name the release of {alias} with --release")


def _works_of_release(directory: Path | None, alias: str) -> Expected | None:
    """Works that the release expects in its builds; None if the release does not answer as `alias`."""
    from creditline.index.builds.releases import expected_of
    from creditline.release import open_release, reference_release_directory

    opened = open_release(directory or reference_release_directory())
    return expected_of(opened, sample=_COMPARED_WORKS) if opened.collection == alias else None


@app.command()
def rollback(alias: Annotated[str, typer.Argument(help="Name of the alias, such as works-mine.")]) -> None:
    """Make the previously live build the live one again, in one step."""
    from creditline.errors import NotFound
    from creditline.index.builds.promotion import previous_build, roll_back
    from creditline.index.withdrawal import enforce_withdrawals

    with connect() as index:
        before = previous_build(index, alias)
        if before is None:
            raise NotFound(
                f"{alias!r} has no previous build to roll back to; load a build and promote it", field="alias"
            )
        enforce_withdrawals(index, withdrawn_by_ledger(), before)
        _console.print(f"{alias} is {roll_back(index, alias)} again")


@app.command()
def optimize(collection: Annotated[str, typer.Argument(help="Name of the collection.")]) -> None:
    """Build the search graph for works that are not in it yet; searches continue meanwhile."""
    with connect() as index:
        index.optimize(collection)
    _console.print(f"{collection}: the search graph is built")


@app.command()
def remove(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    works: Annotated[list[str], typer.Argument(help="Ids of the works.")],
) -> None:
    """Remove works from one collection; for all builds, use `creditline withdraw`."""
    with connect() as index:
        index.remove(collection, works)
        _console.print(f"{collection}: {index.count(collection):,} works")


@app.command()
def drop(collection: Annotated[str, typer.Argument(help="Name of the collection.")]) -> None:
    """Delete a collection that is not live, with all its vectors."""
    from creditline.errors import NotFound
    from creditline.index.builds.promotion import drop_build

    with connect() as index:
        if collection not in index.collections():
            raise NotFound(
                f"there is no collection {collection!r}; `creditline index show` lists all collections"
            )
        drop_build(index, collection)
    _console.print(f"{collection} deleted")
