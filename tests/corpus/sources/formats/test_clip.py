"""CLIP features as a source: what `ClipFeatures` gives, row by row, with bad rows broken instead of fatal."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.sources import open_source
from creditline.errors import InvalidInput
from tests.corpus.clip_parts import write_clip_parts
from tests.corpus.sources.examples import everything, write_clip_features
from tests.corpus.works_factory import plain_works


def test_works_and_rows_are_those_of_clip_features(tmp_path: Path) -> None:
    images, texts = np.random.default_rng(0).normal(size=(2, 30, 8))
    directory = write_clip_parts(tmp_path / "clip", plain_works(30), images, texts, per_part=4)
    opened, source = ClipFeatures.open(directory), open_source(directory)
    found = everything(source)
    assert [one.work for one in found] == list(opened.works())
    np.testing.assert_array_equal(np.stack([one.image_features for one in found]), opened.images())
    np.testing.assert_array_equal(np.stack([one.text_features for one in found]), opened.texts())
    # Part 10 comes after part 9 here too.
    assert source.parts() == tuple(f"img_emb_{number}.npy" for number in range(8))


def test_rows_that_are_no_direction_are_broken_by_name(tmp_path: Path) -> None:
    found = everything(open_source(write_clip_features(tmp_path / "clip")))
    assert [(one.part, one.row) for one in found if one.work is None] == [
        ("img_emb_1.npy", 1),
        ("img_emb_1.npy", 3),
    ]
    told = [one.broken for one in found if one.work is None]
    assert told == [
        "row 1 of img_emb_1.npy is NaN, infinite or zero; embed it again, or leave it out",
        "row 3 of text_emb_1.npy is NaN, infinite or zero; embed it again, or leave it out",
    ]


def test_without_texts_there_are_none(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(5, 8))
    source = open_source(write_clip_parts(tmp_path / "clip", plain_works(5), images))
    assert source.has_features
    assert [one.text_features for one in everything(source)] == [None] * 5
    assert source.mapping == {
        "id": "key or image_path",
        "caption": "caption",
        "licence": "LICENSE",
        "source": "url or image_path",
        "image_features": "img_emb_*.npy",
    }


def test_rows_without_a_key_are_called_after_their_part_as_ever(tmp_path: Path) -> None:
    directory = write_clip_features(tmp_path / "clip")
    for path in directory.rglob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["key", "image_path"]), path)
    ids = [one.work.id for one in everything(open_source(directory)) if one.work]
    assert ids[:9] == [*(f"0-{row}" for row in range(8)), "1-0"]
    assert ids[9:] == [work.id for work in ClipFeatures.open(directory).works() if work.id in ids[9:]]


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """Twenty-five megabytes of float16, in blocks of two thousand rows."""
    images = np.ones((50_000, 256), dtype=np.float16)
    source = open_source(write_clip_parts(tmp_path / "clip", plain_works(50_000), images, per_part=50_000))
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    arrow = max(pa.total_allocated_bytes() - before for _ in source.rows("img_emb_0.npy"))
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert arrow + python < 20e6


def test_a_part_cut_off_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    directory = write_clip_features(tmp_path / "clip")
    path = directory / "img_emb" / "img_emb_2.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InvalidInput, match=r"img_emb_2\.npy cannot be read"):
        open_source(directory)
