"""Which form a directory has, and what is said when it has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.sources import KINDS, open_source
from creditline.errors import InvalidInput, NotReady
from tests.corpus.clip_parts import write_clip_parts
from tests.corpus.sources.examples import (
    picture,
    write_img2dataset_parquet,
    write_img2dataset_shard,
    write_laion_parquet,
)
from tests.corpus.works_factory import plain_works


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match=r"nothing does not exist; name a directory or a file of works"):
        open_source(tmp_path / "nothing")


def test_an_empty_directory_is_told_with_all_that_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="is empty; name") as refused:
        open_source(tmp_path)
    for name, kind in KINDS.items():
        assert f"{name}: {kind.known_by}" in refused.value.message


@pytest.mark.parametrize("name", ["works.docx", "notes.txt"])
def test_a_directory_or_file_of_something_else_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("works")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(NotReady, match="holds no files of a known format"):
            open_source(path)


def test_an_unknown_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match="'csv' is not a kind of source; choose one of huggingface, clip-features, "
    ):
        open_source(tmp_path, kind="csv")


def test_a_named_kind_that_is_not_there_is_told(tmp_path: Path) -> None:
    write_laion_parquet(tmp_path)
    with pytest.raises(NotReady, match=r"\(webdataset: \*\.tar shards\)"):
        open_source(tmp_path, kind="webdataset")


def test_img2datasets_files_are_a_folder_in_spite_of_the_parquet_beside_them(tmp_path: Path) -> None:
    (tmp_path / "00000").mkdir()
    (tmp_path / "00000/000000000.jpg").write_bytes(picture(0, "JPEG"))
    (tmp_path / "00000/000000000.txt").write_text("one")
    pq.write_table(pa.table({"url": ["a"], "caption": ["one"]}), tmp_path / "00000.parquet")
    assert open_source(tmp_path).kind == "folder"


def test_a_repository_of_parquet_with_a_picture_for_its_page_is_parquet(tmp_path: Path) -> None:
    write_laion_parquet(tmp_path / "data")
    (tmp_path / "banner.png").write_bytes(picture(0))
    assert open_source(tmp_path).kind == "parquet"
    assert open_source(tmp_path, kind="folder").kind == "folder"


def test_clip_features_beside_the_shards_they_came_from_go_first_and_the_other_may_be_named(
    tmp_path: Path,
) -> None:
    write_img2dataset_shard(tmp_path / "00000.tar")
    write_clip_parts(tmp_path / "embeddings", plain_works(4), np.ones((4, 3)))
    assert open_source(tmp_path).kind == "clip-features"
    assert open_source(tmp_path, kind="webdataset").parts() == ("00000.tar",)


def test_one_file_is_a_source(tmp_path: Path) -> None:
    parquet = write_img2dataset_parquet(tmp_path / "a.parquet", [picture(0)])
    shard = write_img2dataset_shard(tmp_path / "b.tar")
    assert (open_source(parquet).kind, open_source(parquet).parts()) == ("parquet", ("a.parquet",))
    assert (open_source(shard).kind, open_source(shard).parts()) == ("webdataset", ("b.tar",))
