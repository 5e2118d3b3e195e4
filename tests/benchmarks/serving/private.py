"""Vectors that a client in private mode makes, against those that the embedder makes of the same queries.

Run `python -m tests.benchmarks.serving.private` (about two minutes). The embedder is a process of its own and
gets decoded pictures, as the gateway sends them; the client runs here. Both have the release in the package.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from creditline.corpus.openclipart import embedded_corpus
from creditline.embedder_client.queries import EmbedderClient
from creditline.encoder.queries import QueryEncoder
from creditline.local.stack import LocalStack
from creditline.pictures.queries import query_pixels
from creditline.release import Release, open_release, packaged_release_directory
from tests.benchmarks.result_files import Figure, write_result
from tests.pictures.kinds import kinds, shapes

COMMAND = "python -m tests.benchmarks.serving.private"
SEED = 0
_QUERIES = 200
_SIDES = (48, 64, 200, 512, 1400)
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Sent:
    """A query, as a caller has it."""

    kind: str
    """Kind and size of the picture."""
    image: bytes
    """The picture, as a file."""
    prompt: str
    """The prompt."""


def queries(count: int) -> list[Sent]:
    """Pictures of every kind that is decoded, then works in several formats and sizes, with captions."""
    return list(islice(_pictures(), count))


def _pictures() -> Iterator[Sent]:
    works = embedded_corpus().works
    rows = iter(np.random.default_rng(SEED).permutation(len(works)))
    for kind in (*kinds(), *shapes()):
        yield Sent(kind.name, kind.content, works[next(rows)].caption)
    forms = cycle((side, form) for form in _FORMATS for side in _SIDES)
    for row, (side, form) in zip(rows, forms, strict=False):
        picture = works[row].picture().convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        picture.save(buffer, format=form)
        yield Sent(f"{form}, {side} pixels", buffer.getvalue(), works[row].caption)


async def by_the_embedder(target: str, release: Release, sent: list[Sent]) -> np.ndarray:
    """(Q, D) vectors of the queries, from the embedder."""
    client = EmbedderClient(target)
    try:
        embedded = [
            await client.embed(
                query_pixels(each.image),
                each.prompt,
                release=release.name,
                dimension=release.dimension,
                deadline_seconds=_CALL_SECONDS,
            )
            for each in sent
        ]
    finally:
        await client.close()
    return np.stack([each.vector for each in embedded]).astype(np.float64)


def compared(sent: list[Sent]) -> list[dict[str, Any]]:
    """One row for each query, with the cosine of its two vectors."""
    directory = packaged_release_directory()
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalStack(
            state_directory=Path(scratch), release_directory=directory, services=("embedder",)
        ) as stack,
    ):
        theirs = asyncio.run(by_the_embedder(stack.embedder_target, open_release(directory), sent))
    encoder = QueryEncoder.open(directory)
    ours = np.array([encoder.embed(each.image, each.prompt).values for each in sent])
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / lengths
    return [
        {"part": "private", "kind": each.kind, "cosine": float(cosine)}
        for each, cosine in zip(sent, cosines, strict=True)
    ]


def main() -> None:
    """Measure, print and write the figure."""
    rows = compared(queries(_QUERIES))
    cosines = [row["cosine"] for row in rows]
    kinds_seen = len({row["kind"] for row in rows})
    figure = Figure(
        min(cosines),
        "cosine",
        min(cosines),
        max(cosines),
        ">= 0.9999",
        f"smallest of {len(rows)} pictures of {kinds_seen} kinds and sizes, with captions",
    )
    print(f"private_vector_cosine: {figure.value:.9f}  {figure.what}")
    write_result("serving", COMMAND, SEED, {"private_vector_cosine": figure}, rows, merge=True)


if __name__ == "__main__":
    main()
