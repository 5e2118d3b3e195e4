"""`creditline index search`: the works of any collection that are nearest to a picture, without shares."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from creditline.cli.connection import JsonOption, StateOption
from creditline.cli.index_connection import IndexServices, QdrantOption
from creditline.cli.whole_tables import print_whole
from creditline.errors import InvalidInput, NotReady

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from creditline.index import Hit, WorkIndex

_console = Console(soft_wrap=True, highlight=False)
_SECONDS = 60.0
_COLUMNS = ("", "similarity", "work", "title", "contributor", "licence", "source")


def search(
    collection: Annotated[str, typer.Argument(help="Name of a collection, or of an alias.")],
    picture: Annotated[Path | None, typer.Argument(help="The picture.")] = None,
    prompt: Annotated[str, typer.Option(help="Prompt that the picture was made from.")] = "",
    features: Annotated[
        Path | None,
        typer.Option(
            help="The picture's features as a .npy file, for a collection of features that no release made."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, max=10_000, help="Number of works.")] = 10,
    embedder: Annotated[
        str | None, typer.Option(help="HOST:PORT of the embedder; defaults to the running local stack.")
    ] = None,
    qdrant: QdrantOption = None,
    state_directory: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the works of a collection that are nearest to a picture.

    Similar works are not owed anything by that: shares belong to a release (`creditline attribute`).
    """
    services = IndexServices(qdrant, state_directory=state_directory)
    with services.connect() as index:
        if not index.exists(collection):
            raise NotReady(
                f"there is no collection {collection!r}; `creditline index show` lists all collections",
                field="collection",
            )
        build = index.aliases().get(collection, collection)
        if features is not None:
            vector = _given_features(features, index.dimension(build))
        else:
            vector = _embedded(index, build, _bytes_of(picture), prompt, embedder or services.embedder_target)
        found = _nearest(services, build, vector, limit)
    _print(found, as_json)


def _given_features(path: Path, dimension: int) -> NDArray[np.float32]:
    """One L2-normalised row of features from a file: (D,) float32."""
    import numpy as np

    try:
        row = np.load(path, allow_pickle=False).astype(np.float32).squeeze()
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(
            f"{path} holds no features ({error}); save one row of numbers with numpy.save", field="features"
        ) from error
    length = float(np.linalg.norm(row))
    if row.shape != (dimension,) or not 0.0 < length < float("inf"):
        raise InvalidInput(
            f"{path} holds features of shape {row.shape} and length {length:g}; the collection needs one row"
            f" of {dimension} numbers that are finite and not all 0",
            field="features",
        )
    return np.asarray(row / length, dtype=np.float32)


def _bytes_of(picture: Path | None) -> bytes:
    if picture is None:
        raise InvalidInput("give a PICTURE, or its features with --features FILE.npy", field="picture")
    try:
        return picture.read_bytes()
    except OSError as error:
        raise NotReady(
            f"the picture {picture} cannot be read ({error.strerror}); check the path", field="picture"
        ) from error


def _embedded(
    index: WorkIndex, build: str, picture: bytes, prompt: str, embedder: str | None
) -> NDArray[np.float32]:
    """The picture's vector by the release that made the collection's vectors."""
    from creditline.credentials.settings import EmbedderTlsSettings
    from creditline.embedder_client.queries import embed_query
    from creditline.embedder_client.works import WorkEmbedder
    from creditline.index.encoders import check_encoder, recorded_encoder
    from creditline.index.ingest.vectors import SourceFeatures
    from creditline.pictures.queries import query_pixels
    from creditline.settings import read_settings

    recorded = recorded_encoder(index, build)
    if recorded == SourceFeatures().fingerprint:
        raise InvalidInput(
            f"the vectors of {build!r} are features that its source brought, and no release here makes such"
            " features of a picture; give its own, made by the same model, with --features FILE.npy",
            field="collection",
        )
    if embedder is None:
        raise NotReady(
            "no local stack is running whose embedder could be asked; name one with --embedder HOST:PORT",
            field="embedder",
        )
    tls = read_settings(EmbedderTlsSettings).tls_to_embedder
    with WorkEmbedder(embedder, tls=tls) as encoder:
        fingerprint, dimension = encoder.fingerprint, encoder.dimension
        release = encoder.release
    check_encoder(index, build, fingerprint)
    if recorded is None:
        _console.print(
            f"{build} does not record what made its vectors; they are taken to be by {fingerprint}",
            style="dim",
        )

    return embed_query(
        embedder,
        query_pixels(picture),
        prompt,
        release=release,
        dimension=dimension,
        deadline_seconds=_SECONDS,
        tls=tls,
    ).vector


def _nearest(services: IndexServices, build: str, vector: NDArray[np.float32], limit: int) -> list[Hit]:
    from creditline.index import WorkSearch

    async def search_build() -> list[Hit]:
        async with WorkSearch.connect(
            *services.qdrant_address, credentials=services.qdrant_credentials
        ) as works:
            return await works.search(build, vector, limit, deadline_seconds=_SECONDS)

    return asyncio.run(search_build())


def _print(found: list[Hit], as_json: bool) -> None:
    if as_json:
        _console.print_json(json.dumps([_fields(rank, hit) for rank, hit in enumerate(found, 1)]))
        return
    table = Table(*_COLUMNS)
    for fields in (_fields(rank, hit) for rank, hit in enumerate(found, 1)):
        names = (str(fields[name]) for name in ("work", "title", "contributor", "licence", "source"))
        table.add_row(str(fields["rank"]), f"{fields['similarity']:.4f}", *map(Text, names))
    print_whole(_console, table)
    _console.print("similar works, without shares: those belong to a release (`creditline attribute`)")


def _fields(rank: int, hit: Hit) -> dict[str, str | int | float]:
    return {
        "rank": rank,
        "similarity": round(hit.score, 6),
        "work": hit.work_id,
        "title": hit.title,
        "caption": hit.caption,
        "contributor": hit.contributor,
        "licence": hit.licence,
        "source": hit.source,
    }
