"""Ids: two shards, runs or sources that number their works from 0 do not take each other's ids."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.sources import open_source
from creditline.errors import InvalidInput
from tests.corpus.sources.examples import (
    everything,
    picture,
    write_img2dataset_parquet,
    write_img2dataset_shard,
)


def _ids(path: Path) -> list[str]:
    return [one.work.id for one in everything(open_source(path)) if one.work]


def _write_files(directory: Path) -> Path:
    """img2dataset's `--output_format files`."""
    directory.mkdir(parents=True)
    for row in range(2):
        record = {
            "key": f"00000{row:04d}",
            "caption": f"a drawing of {row}",
            "status": "success",
            "error_message": None,
        }
        (directory / f"00000{row:04d}.jpg").write_bytes(picture(row, "JPEG"))
        (directory / f"00000{row:04d}.txt").write_text(record["caption"])
        (directory / f"00000{row:04d}.json").write_text(json.dumps(record))
    pq.write_table(pa.table({"url": ["a"], "caption": ["b"]}), directory.with_suffix(".parquet"))
    directory.with_name(f"{directory.name}_stats.json").write_text("{}")
    return directory.parent


def _write_shard(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return write_img2dataset_shard(directory / "00000.tar", samples=2).parent


def _write_parquet(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return write_img2dataset_parquet(directory / "00000.parquet", [picture(0), picture(1)]).parent


@pytest.mark.parametrize("form", ["files", "webdataset", "parquet"])
def test_runs_of_img2dataset_keep_their_keys_alone_and_carry_their_directory_together(
    tmp_path: Path, form: str
) -> None:
    for run in ("first", "second"):
        if form == "files":
            assert _ids(_write_files(tmp_path / run / "00000")) == ["000000000", "000000001"]
        else:
            write = _write_shard if form == "webdataset" else _write_parquet
            assert _ids(write(tmp_path / run)) == ["000000000", "000000001"]
    assert _ids(tmp_path) == [f"{run}/00000000{row}" for run in ("first", "second") for row in (0, 1)]


def test_keys_that_each_file_counts_carry_the_file_and_ids_of_authors_stay_as_they_are(
    tmp_path: Path,
) -> None:
    for column in ("key", "id"):
        (tmp_path / column).mkdir()
        for part in ("a", "b"):
            table = pa.table({column: [f"{part}0" if column == "id" else "0"], "text": ["x"]})
            pq.write_table(table, tmp_path / column / f"{part}.parquet")
    assert _ids(tmp_path / "key") == ["a/0", "b/0"]
    assert _ids(tmp_path / "id") == ["a0", "b0"]


def test_a_source_that_names_itself_puts_its_name_before_its_ids(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(picture(0))
    (tmp_path / "1.txt").write_text("an owl")
    assert _ids(tmp_path) == ["1.png"]
    (tmp_path / "creditline-source.json").write_text('{"ids": "owls"}')
    source = open_source(tmp_path)
    (found,) = everything(source)
    assert found.work is not None
    assert (found.work.id, found.work.duplicate_group, found.work.source) == (
        "owls/1.png",
        "owls/1.png",
        "1.png",
    )
    assert [one.work for one in source.rows(".#0")] == [found.work]


@pytest.mark.parametrize("text", ["{", '{"name": "owls"}', '["owls"]', '{"ids": ""}', '{"ids": 7}'])
def test_a_name_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "1.png").write_bytes(picture(0))
    (tmp_path / "creditline-source.json").write_text(text)
    with pytest.raises(InvalidInput, match=r'creditline-source\.json .* write \{"ids": "NAME"\}'):
        open_source(tmp_path)
