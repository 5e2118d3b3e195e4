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


@pytest.mark.heavy
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


def test_parts_that_are_cut_off_or_incomplete_are_one_broken_row_each(tmp_path: Path) -> None:
    directory = write_clip_parts(
        tmp_path / "clip", plain_works(16), np.ones((16, 4)), np.ones((16, 4)), per_part=4
    )
    images = directory / "img_emb" / "img_emb_1.npy"
    images.write_bytes(images.read_bytes()[:-4])
    (directory / "metadata" / "metadata_2.parquet").write_bytes(b"PAR1")
    next(directory.rglob("text_emb_3.npy")).unlink()
    source = open_source(directory)
    found = everything(source)
    assert [one.work is None for one in found] == [False] * 4 + [True] * 3
    assert [(one.part, one.row, one.loss) for one in found[4:]] == [
        (f"img_emb_{number}.npy", 0, "file cut off or damaged") for number in (1, 2, 3)
    ]
    assert "img_emb_1.npy cannot be read" in found[4].broken
    assert list(source.read("img_emb_1.npy", 1)) == []
    with pytest.raises(InvalidInput, match=r"lacks text_emb_3\.npy"):
        ClipFeatures.open(directory)


def test_parts_without_captions_or_numbers_are_one_broken_row_each(tmp_path: Path) -> None:
    directory = write_clip_parts(tmp_path / "clip", plain_works(6), np.ones((6, 4)), per_part=2)
    about = directory / "metadata" / "metadata_0.parquet"
    pq.write_table(pq.read_table(about).drop_columns(["caption"]), about)
    np.save(directory / "img_emb" / "img_emb_1.npy", np.array([["a"] * 4] * 2))
    found = everything(open_source(directory))
    assert [one.loss for one in found] == ["without a caption", "file cut off or damaged", "", ""]
    assert "type <U1; features must be a matrix of numbers" in found[1].broken


@pytest.mark.parametrize("kind", ["img_emb", "text_emb"])
def test_features_of_differing_dimension_are_refused_with_their_files(tmp_path: Path, kind: str) -> None:
    directory = write_clip_parts(
        tmp_path / "clip", plain_works(8), np.ones((8, 4)), np.ones((8, 4)), per_part=4
    )
    np.save(next(directory.rglob(f"{kind}_1.npy")), np.ones((4, 6)))
    for opened in (open_source, ClipFeatures.open):
        with pytest.raises(
            InvalidInput, match=rf"different dimensions, 4 \({kind}_0.npy\) and 6 \({kind}_1.npy\)"
        ):
            opened(directory)


def test_two_runs_that_count_from_0_keep_all_their_works(tmp_path: Path) -> None:
    for run, value in (("a", 1.0), ("b", 2.0)):
        directory = write_clip_parts(tmp_path / "clip" / run, plain_works(4), np.eye(4) * value, per_part=2)
        for path in directory.rglob("*.parquet"):
            pq.write_table(pq.read_table(path).drop_columns(["key", "image_path"]), path)
    source = open_source(tmp_path / "clip")
    assert source.parts() == tuple(f"{run}/img_emb_{number}.npy" for run in "ab" for number in (0, 1))
    ids = [one.work.id for one in everything(source) if one.work]
    assert ids == [f"{run}/{number}-{row}" for run in "ab" for number in (0, 1) for row in (0, 1)]
    assert ids == [work.id for work in ClipFeatures.open(tmp_path / "clip").works()]
