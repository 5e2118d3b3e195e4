"""One picture has one vector: by an ingest, by the gateway and by a distillation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creditline.corpus.works import Corpus
from creditline.embedder.model import EmbedderModel, EmbedItem
from creditline.encoder.encoder import Side
from creditline.release import Release
from creditline.towers.spec import EMBEDDED
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


def test_a_compiled_model_gives_the_vectors_of_an_eager_one(
    model: EmbedderModel, embedder_release: Release, small_corpus: Corpus
) -> None:
    eager = EmbedderModel.open(embedder_release.directory, EMBEDDED, compiled=False)
    assert (dict(model.eager), set(eager.eager)) == ({}, {"image", "text"})
    items = [EmbedItem(work.picture(), work.caption, Side.QUERY) for work in small_corpus.works[:5]]
    ours, theirs = (np.stack([each.vector for each in one.forward(items)]) for one in (model, eager))
    assert (ours * theirs).sum(axis=1).min() >= 0.999999
