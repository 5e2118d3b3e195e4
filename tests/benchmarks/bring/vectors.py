"""One picture as a work and as a query: its vectors by an ingest, by the gateway and by a distillation.

Run `python -m tests.benchmarks.bring.vectors` (a minute). For every kind of file, the picture takes the way
of an ingest (a source, the ingest's client and an embedder), that of a query (the gateway's preparation, its
client and the same embedder) and that of a distillation (the towers as a library).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.sources import open_source
from creditline.distillation.release.development import write_development_release
from creditline.distillation.training.feature_store import FeatureStore
from creditline.embedder_client.queries import EmbedderClient
from creditline.embedder_client.works import WorkEmbedder
from creditline.encoder.encoder import Encoder, Side
from creditline.pictures.queries import query_pixels
from creditline.release import ENCODER, Release
from creditline.towers.towers import Towers
from tests.benchmarks.bring.real_embedder import real_embedder
from tests.benchmarks.result_files import Figure, write_result
from tests.corpus.sources.examples import write_img2dataset_parquet
from tests.pictures.kinds import Kind, kinds, shapes

COMMAND = "make bench-bring"
SEED = 0
_WORKS = 64
_WIDTH = 64
_SECONDS = 60.0

Vectors = NDArray[np.float32]


def judged(
    files: Sequence[Kind], target: str, release: Release, towers: Towers, scratch: Path
) -> Iterator[dict[str, Any]]:
    """One row per kind of file, with the cosines between the vectors of the three ways.

    Args:
        files: The files.
        target: Address of an embedder of the release, whose encoder has one head for works and queries.
        release: The release.
        towers: The release's towers.
        scratch: Directory for a source that holds the files.
    """
    write_img2dataset_parquet(scratch / "00000.parquet", [kind.content for kind in files])
    source = open_source(scratch)
    found = [row for part in source.parts() for row in source.rows(part)]
    works = [row.work for row in found if row.work is not None]
    with WorkEmbedder(target) as embedder:
        ingested = embedder.embed(found)
    asked = asyncio.run(_asked(files, [work.caption for work in works], target, release))
    features = towers.features([work.picture() for work in works], [work.caption for work in works])
    distilled = Encoder.load(release.directory / ENCODER).encode_features(features, Side.WORK)
    for kind, work, query, own in zip(files, ingested, asked, distilled, strict=True):
        assert not isinstance(work, str), f"{kind.name}: {work}"
        yield {"kind": kind.name, "work_query": _cosine(work, query), "work_library": _cosine(work, own)}


async def _asked(
    files: Sequence[Kind], prompts: Sequence[str], target: str, release: Release
) -> list[Vectors]:
    client = EmbedderClient(target)
    vectors = []
    for kind, prompt in zip(files, prompts, strict=True):
        embedded = await client.embed(
            query_pixels(kind.content),
            prompt,
            release=release.name,
            dimension=release.dimension,
            deadline_seconds=_SECONDS,
        )
        vectors.append(embedded.vector)
    await client.close()
    return vectors


def _cosine(one: Vectors, other: Vectors) -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def main() -> None:
    """Compare every kind, print it and write the figure."""
    towers, corpus = Towers.open(), embedded_corpus()
    few = corpus.subset(corpus.ids[:: len(corpus) // _WORKS][:_WORKS], name="few")
    with tempfile.TemporaryDirectory() as scratch:
        store = FeatureStore(towers, None, lambda line: None)
        release = write_development_release(Path(scratch, "release"), few, store, width=_WIDTH, seed=SEED)
        Path(scratch, "source").mkdir()
        with real_embedder(release.directory) as running:
            files = [*kinds(), *shapes()]
            rows = list(judged(files, running.target, release, towers, Path(scratch, "source")))
    for row in rows:
        print(f"{row['work_query']:.7f}  {row['work_library']:.7f}  {row['kind']}")
    smallest = min(min(row["work_query"], row["work_library"]) for row in rows)
    what = f"smallest cosine between one picture's vectors as work and as query, of {len(rows)} kinds; exact"
    print(f"{smallest:.7f}  {what}")
    figure = Figure(smallest, "cosine", target=">= 0.9999", what=what)
    write_result(
        "bring",
        COMMAND,
        SEED,
        {"same_vector_cosine": figure},
        [{"part": "vectors", **row} for row in rows],
        merge=True,
    )


if __name__ == "__main__":
    main()
