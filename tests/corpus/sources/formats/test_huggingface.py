"""Datasets saved by Hugging Face's library."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, Image, Sequence, Value

from creditline.corpus.sources import open_source
from creditline.corpus.sources.formats.huggingface import HuggingFaceSource
from creditline.errors import InvalidInput, NotFound, NotReady
from tests.corpus.sources.examples import everything, picture, write_saved_dataset


def test_rows_of_all_splits_become_works_with_their_pictures_bytes(tmp_path: Path) -> None:
    source = open_source(write_saved_dataset(tmp_path / "saved"))
    assert (source.kind, source.name, source.parts()) == ("huggingface", "saved", ("train#0", "test#0"))
    found = everything(source)
    assert len(found) == 46
    assert found[45].work is not None
    assert (found[45].work.id, found[45].work.caption) == ("test#0-4", "a drawing of test 4")
    assert (found[45].work.contributor, found[45].work.thumbnail) == ("Ann", picture(4))
    assert source.mapping == {"caption": "text", "contributor": "author", "picture": "image"}


def test_a_picture_that_cannot_be_decoded_is_a_broken_row(tmp_path: Path) -> None:
    broken = [one for one in everything(open_source(write_saved_dataset(tmp_path / "saved"))) if one.broken]
    assert [(one.part, one.row) for one in broken] == [("train#0", 40)]
    assert broken[0].broken.startswith("the picture of work 'train#0-40' is not in a known format (4 bytes")


def test_pictures_from_files_are_in_the_saved_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(0))
    columns = {"image": [str(tmp_path / "a.png")], "text": ["one"]}
    dataset = Dataset.from_dict(columns, features=Features({"image": Image(), "text": Value("string")}))
    dataset.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "a.png").unlink()
    source = open_source(tmp_path / "saved")
    assert source.parts() == ("rows#0",)
    (found,) = everything(source)
    assert found.work is not None
    assert found.work.thumbnail == picture(0)


def test_features_are_read_at_length_one(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    numbers[2] = 0.0
    columns = {"text": list("abcde"), "image_embedding": numbers.tolist(), "key": [1, 2, 3, 4, 5]}
    features = Features(
        {"text": Value("string"), "image_embedding": Sequence(Value("float32")), "key": Value("int64")}
    )
    Dataset.from_dict(columns, features=features).save_to_disk(str(tmp_path / "saved"))
    source = open_source(tmp_path / "saved")
    assert source.has_features
    found = everything(source)
    assert [one.work.id if one.work else None for one in found] == ["1", "2", None, "4", "5"]
    assert found[4].image_features is not None
    np.testing.assert_allclose(found[4].image_features, numbers[4] / np.linalg.norm(numbers[4]), atol=1e-6)


def test_a_large_split_is_shared_by_pieces(tmp_path: Path) -> None:
    directory = write_saved_dataset(tmp_path / "saved", rows=20)
    whole = [(one.work.caption if one.work else None) for one in everything(open_source(directory))]
    source = HuggingFaceSource.open(directory, part_rows=8)
    assert source.parts() == ("train#0", "train#1", "train#2", "test#0")
    assert [(one.work.caption if one.work else None) for one in everything(source)] == whole
    with pytest.raises(NotFound, match="no part 'train#3'"):
        list(source.read("train#3"))


def test_a_dataset_without_captions_is_refused_with_its_columns(tmp_path: Path) -> None:
    Dataset.from_dict({"label": [1], "alt": ["x"]}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(InvalidInput, match=r"saved \(rows\) has none of the columns .*, only label, alt"):
        open_source(tmp_path / "saved")


def test_a_damaged_dataset_is_refused(tmp_path: Path) -> None:
    directory = write_saved_dataset(tmp_path / "saved")
    (path,) = (directory / "train").glob("*.arrow")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InvalidInput, match=r"saved cannot be read \(.*\); save the dataset again"):
        open_source(directory)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_saved_dataset(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(NotReady, match=r"pip install 'creditline\[huggingface\]'"):
        open_source(directory)
