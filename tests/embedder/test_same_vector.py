"""One picture has one vector: by an ingest, by the gateway and by a distillation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creditline.corpus.works import Corpus
from creditline.embedder_client.pixels import pixels_message
from creditline.encoder.encoder import Side
from creditline.encoder.model import EmbedderModel, EmbedItem
from creditline.encoder.queries import QueryEncoder
from creditline.pictures.queries import query_pixels
from creditline.release import Release
from creditline.towers.spec import EMBEDDED
from creditline.v1 import embedder_pb2 as proto
from tests.benchmarks.bring.vectors import judged
from tests.pictures.kinds import kinds, shapes

if TYPE_CHECKING:
    from creditline.towers.towers import Towers
    from tests.embedder.conftest import Served

_SOME = (
    "orientation 6",
    "16-bit grey",
    "RGBA PNG",
    "CMYK with a profile",
    "Display P3 JPEG",
    "GIF with an offset frame",
    "20000 x 2 PNG",
    "3000 x 2000 JPEG",
)


def test_a_picture_has_the_same_vector_as_a_work_and_as_a_query(
    served: Served, embedder_release: Release, towers: Towers, tmp_path: Path
) -> None:
    files = [kind for kind in (*kinds(), *shapes()) if kind.name in _SOME]
    assert len(files) == len(_SOME)
    rows = list(judged(files, f"127.0.0.1:{served.port}", embedder_release, towers, tmp_path))
    assert [row["kind"] for row in rows] == [kind.name for kind in files]
    assert min(min(row["work_query"], row["work_library"]) for row in rows) >= 0.9999


def test_a_client_in_private_mode_makes_the_vector_that_the_embedder_makes(
    served: Served, model: EmbedderModel, embedder_release: Release
) -> None:
    encoder = QueryEncoder(model)
    for kind in (kind for kind in (*kinds(), *shapes()) if kind.name in _SOME):
        ours = encoder.embed(kind.content, kind.name)
        item = proto.EmbedRequest.Item(pixels=pixels_message(query_pixels(kind.content)), text=kind.name)
        (theirs,) = served.stub.Embed(proto.EmbedRequest(items=[item], side=proto.SIDE_QUERY)).vectors
        assert np.dot(ours.values, theirs.values) >= 0.9999
        assert (ours.release, ours.encoder) == (embedder_release.name, embedder_release.encoder_fingerprint)


def test_a_compiled_model_gives_the_vectors_of_an_eager_one(
    model: EmbedderModel, embedder_release: Release, small_corpus: Corpus
) -> None:
    eager = EmbedderModel.open(embedder_release.directory, EMBEDDED, compiled=False)
    assert (dict(model.eager), set(eager.eager)) == ({}, {"image", "text"})
    items = [EmbedItem(work.picture(), work.caption, Side.QUERY) for work in small_corpus.works[:5]]
    ours, theirs = (np.stack([each.vector for each in one.forward(items)]) for one in (model, eager))
    assert (ours * theirs).sum(axis=1).min() >= 0.999999
