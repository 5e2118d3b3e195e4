"""Features that others computed: read in order, checked, and never taken for what they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput, NotReady
from tests.corpus.clip_parts import write_clip_parts


def _rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 8))


@pytest.fixture
def written(small_corpus: Corpus, tmp_path: Path) -> Path:
    works = small_corpus.works
    return write_clip_parts(tmp_path / "clip", works, _rows(len(works)), _rows(len(works), 1), per_part=3)


def test_works_come_in_the_order_of_part_numbers_with_their_metadata(
    written: Path, small_corpus: Corpus
) -> None:
    corpus = ClipFeatures.open(written).corpus("clip")
    # More than ten parts: number 10 comes after number 9.
    assert corpus.ids == small_corpus.ids
    assert [work.caption for work in corpus] == [work.caption for work in small_corpus]
    assert {work.contributor for work in corpus} == {"unknown"}
    assert corpus.works[0].source == f"https://pictures.example/{corpus.ids[0]}.png"


def test_rows_are_those_that_were_written_at_length_one(written: Path, small_corpus: Corpus) -> None:
    opened, count = ClipFeatures.open(written), len(small_corpus)
    for found, rows in ((opened.images(), _rows(count)), (opened.texts(), _rows(count, 1))):
        wanted = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        assert found.dtype == np.float32


def test_the_fingerprint_is_of_the_rows(written: Path, small_corpus: Corpus, tmp_path: Path) -> None:
    works = small_corpus.works
    other = write_clip_parts(tmp_path / "other", works, _rows(len(works), 5), per_part=3)
    assert ClipFeatures.open(written).fingerprint != ClipFeatures.open(other).fingerprint
    assert ClipFeatures.open(written).fingerprint == ClipFeatures.open(written).fingerprint


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_row_that_is_no_direction_is_named(written: Path, value: float) -> None:
    path = written / "img_emb" / "img_emb_1.npy"
    rows = np.load(path)
    rows[2] = value
    np.save(path, rows)
    with pytest.raises(InvalidInput, match=r"row 2 of .*img_emb_1.npy is NaN, infinite or zero"):
        ClipFeatures.open(written).images()


def test_parts_that_do_not_belong_together_are_refused(written: Path) -> None:
    path = written / "img_emb" / "img_emb_1.npy"
    np.save(path, np.load(path)[:2])
    with pytest.raises(InvalidInput, match=r"img_emb_1.npy 2, metadata_1.parquet 3"):
        ClipFeatures.open(written)


def test_a_missing_part_is_named(written: Path) -> None:
    (written / "metadata" / "metadata_4.parquet").unlink()
    with pytest.raises(InvalidInput, match=r"lacks metadata_4.parquet"):
        ClipFeatures.open(written)


def test_a_file_cut_off_is_refused(written: Path) -> None:
    path = written / "img_emb" / "img_emb_0.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InvalidInput, match="cannot be read"):
        ClipFeatures.open(written)


def test_metadata_without_captions_is_refused_with_the_columns_that_are_there(written: Path) -> None:
    path = written / "metadata" / "metadata_0.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["caption"]), path)
    with pytest.raises(
        InvalidInput, match=r"none of the columns caption, TEXT, text, prompt …, only image_path"
    ):
        list(ClipFeatures.open(written).works())


def test_a_key_that_comes_twice_is_refused(written: Path) -> None:
    one, two = (written / "metadata" / f"metadata_{number}.parquet" for number in (0, 1))
    pq.write_table(pq.read_table(one), two)
    with pytest.raises(InvalidInput, match="the same key twice"):
        ClipFeatures.open(written).corpus("clip")


def test_an_empty_directory_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match=r"no img_emb_\*.npy"):
        ClipFeatures.open(tmp_path)
