"""`creditline index`: works' vectors in Qdrant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from creditline.corpus.withdrawn import Withdrawn
    from creditline.index import WorkIndex

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


@app.callback()
def _root() -> None:
    """Works' vectors in Qdrant, at CREDITLINE_QDRANT_HOST and CREDITLINE_QDRANT_GRPC_PORT."""


def _connect() -> WorkIndex:
    from creditline.index import QdrantSettings, WorkIndex
    from creditline.settings import read_settings

    settings = read_settings(QdrantSettings)
    return WorkIndex.connect(settings.host, settings.grpc_port, settings.timeout_seconds)


@app.command()
def load(release: ReleaseOption = None, corpus: CorpusOption = None) -> None:
    """Write a release's vectors into its collection; running it again is safe.

    What the ledger at CREDITLINE_LEDGER_URL says is withdrawn is never listed in it.
    """
    from creditline.corpus.openclipart import embedded_corpus
    from creditline.corpus.works import read_corpus
    from creditline.index import enforced, index_release
    from creditline.release import open_release, reference_release_directory

    opened, withdrawn = open_release(release or reference_release_directory()), _withdrawn()
    with _connect() as index:
        works = read_corpus(corpus) if corpus else embedded_corpus()
        loaded = index_release(opened, works, index, withdrawn)
        # Loading takes minutes: what was withdrawn meanwhile too.
        enforced(index, _withdrawn(), loaded.collection)
        hidden = index.count(loaded.collection, withdrawn=True)
    _console.print(
        f"{loaded.collection}: {loaded.works} works ({loaded.found} were there, {loaded.written} written, "
        f"{hidden} are withdrawn)"
    )


def _withdrawn() -> Withdrawn:
    """What the ledger says. Without it nothing is loaded: a withdrawn work could come back."""
    from creditline.ledger import Ledger, LedgerSettings
    from creditline.settings import read_settings

    with Ledger.open(read_settings(LedgerSettings).ledger_url) as ledger:
        return ledger.withdrawn()


@app.command()
def show() -> None:
    """Name the collections with their width and their works."""
    table = Table("collection", "width", "works", "withdrawn")
    with _connect() as index:
        for name in index.collections():
            withdrawn = index.count(name, withdrawn=True)
            table.add_row(name, str(index.width(name)), str(index.count(name)), str(withdrawn))
    _console.print(table)


@app.command()
def drop(collection: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Delete a collection with all its vectors."""
    from creditline.errors import NotFound

    with _connect() as index:
        if not index.exists(collection):
            raise NotFound(f"there is no collection {collection!r}; `creditline index show` names them")
        index.delete(collection)
    _console.print(f"{collection} deleted")
