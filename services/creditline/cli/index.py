"""`creditline index`: manage the works' vectors in Qdrant."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from creditline.cli.connection import StateOption
from creditline.cli.index_add import add
from creditline.cli.index_connection import (
    IndexServices,
    LedgerOption,
    NoLedgerOption,
    PlanOption,
    QdrantOption,
)
from creditline.cli.index_ingest import ingest
from creditline.cli.index_plan import plan
from creditline.cli.index_search import search
from creditline.cli.index_show import show

if TYPE_CHECKING:
    from creditline.index import LoadOutcome
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
    """Manage the works' vectors in Qdrant: that of the running local stack, unless another is named."""


app.command()(add)
app.command()(ingest)
app.command()(plan)
app.command()(search)
app.command()(show)


@app.command()
def load(
    release: ReleaseOption = None,
    corpus: CorpusOption = None,
    layout: PlanOption = None,
    replace_live: ReplaceLiveOption = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build again even if the release's build exists.")
    ] = False,
    qdrant: QdrantOption = None,
    ledger: LedgerOption = None,
    no_ledger: NoLedgerOption = False,
    state_directory: StateOption = None,
) -> None:
    """Build a release's collection beside the live one, verify it, and promote it.

    Nothing is done if the release's build already exists, or if the live build is an operator's: one that
    this release did not make, whose works were changed, or that an operator rolled back to. --replace-live
    replaces such a build. Only builds that the release made are deleted. Works that are withdrawn in the
    ledger are never listed.
    """
    from creditline.index import enforce_withdrawals, load_release
    from creditline.release import open_release, reference_release_directory
    from creditline.release.parts import corpus_of

    # A job that is terminated removes its unfinished build, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    opened = open_release(release or reference_release_directory())
    services = IndexServices(qdrant, ledger, no_ledger, state_directory)
    withdrawn = services.withdrawn()
    with services.connect(layout) as index:
        done = load_release(
            opened,
            lambda: corpus_of(opened, corpus),
            index,
            withdrawn,
            replace_live=replace_live,
            rebuild=rebuild,
        )
        # Loading takes minutes: apply withdrawals that were made in the meantime.
        enforce_withdrawals(index, services.withdrawn(), done.live)
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
def promote(
    build: Annotated[str, typer.Argument(help="Name of the build's collection, such as works-mine.2.")],
    release: ReleaseOption = None,
    qdrant: QdrantOption = None,
    ledger: LedgerOption = None,
    no_ledger: NoLedgerOption = False,
    state_directory: StateOption = None,
) -> None:
    """Make a build the live one, in one step.

    Withdrawals are applied to the build first. A build whose vectors were not made by the release's encoder
    is refused; without the release, only its dimension is compared with that of the live build.
    """
    from creditline.index.builds.promotion import promote as promote_build
    from creditline.index.withdrawal import enforce_withdrawals

    alias = build.rpartition(".")[0]
    serves = _works_of_release(release, alias)
    services = IndexServices(qdrant, ledger, no_ledger, state_directory)
    withdrawn = services.withdrawn()
    with services.connect() as index:
        enforce_withdrawals(index, withdrawn, build)
        before = promote_build(index, alias, build, serves=serves)
    former = f", and was {before} before" if before not in (None, build) else ""
    _console.print(f"{alias} is {build} now{former}")
    _say_if_not_compared(serves, alias)


def _say_if_not_compared(serves: Expected | None, alias: str) -> None:
    if serves is None:
        _console.print(f"Not compared with a release's vectors; name the release of {alias} with --release")


def _works_of_release(directory: Path | None, alias: str) -> Expected | None:
    """Works that the release expects in its builds; None if the release does not answer as `alias`."""
    from creditline.index.builds.releases import expected_of
    from creditline.release import open_release, reference_release_directory

    opened = open_release(directory or reference_release_directory())
    return expected_of(opened, sample=_COMPARED_WORKS) if opened.collection == alias else None


@app.command()
def rollback(
    alias: Annotated[str, typer.Argument(help="Name of the alias, such as works-mine.")],
    release: ReleaseOption = None,
    qdrant: QdrantOption = None,
    ledger: LedgerOption = None,
    no_ledger: NoLedgerOption = False,
    state_directory: StateOption = None,
) -> None:
    """Make the previously live build the live one again, in one step; once more goes further back.

    As for a promotion, withdrawals are applied to the build first, and it is compared with the release.
    """
    from creditline.index.builds.promotion import nothing_before, previous_build, roll_back
    from creditline.index.withdrawal import enforce_withdrawals

    serves = _works_of_release(release, alias)
    services = IndexServices(qdrant, ledger, no_ledger, state_directory)
    withdrawn = services.withdrawn()
    with services.connect() as index:
        before = previous_build(index, alias)
        if before is None:
            raise nothing_before(alias)
        enforce_withdrawals(index, withdrawn, before)
        _console.print(f"{alias} is {roll_back(index, alias, serves=serves)} again")
    _say_if_not_compared(serves, alias)


@app.command()
def optimize(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    qdrant: QdrantOption = None,
    state_directory: StateOption = None,
) -> None:
    """Build the search graph for works that are not in it yet; searches continue meanwhile."""
    with IndexServices(qdrant, state_directory=state_directory).connect() as index:
        index.optimize(collection)
    _console.print(f"{collection}: the search graph is built")


@app.command()
def remove(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    works: Annotated[list[str], typer.Argument(help="Ids of the works.")],
    qdrant: QdrantOption = None,
    state_directory: StateOption = None,
) -> None:
    """Remove works from one collection; for all builds, use `creditline withdraw`."""
    with IndexServices(qdrant, state_directory=state_directory).connect() as index:
        index.remove(collection, works)
        _console.print(f"{collection}: {index.count(collection):,} works")


@app.command()
def drop(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    qdrant: QdrantOption = None,
    state_directory: StateOption = None,
) -> None:
    """Delete a collection that is not live, with all its vectors."""
    from creditline.errors import NotFound
    from creditline.index.builds.promotion import drop_build

    with IndexServices(qdrant, state_directory=state_directory).connect() as index:
        if collection not in index.collections():
            raise NotFound(
                f"there is no collection {collection!r}; `creditline index show` lists all collections"
            )
        drop_build(index, collection)
    _console.print(f"{collection} deleted")
