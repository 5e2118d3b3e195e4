"""Parquet: LAION's and img2dataset's columns, pictures as bytes, features as lists, and damaged files."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.rights import RightsHolder
from creditline.corpus.sources import open_source
from creditline.errors import InvalidInput, NotFound
from tests.corpus.sources.examples import (
    everything,
    picture,
    write_embedded_parquet,
    write_img2dataset_parquet,
    write_laion_parquet,
)


def test_laions_rows_become_works_without_pictures(tmp_path: Path) -> None:
    source = open_source(write_laion_parquet(tmp_path / "laion"))
    assert (source.kind, source.name, source.has_features) == ("parquet", "laion", False)
    assert source.parts() == ("part-00000.snappy.parquet", "part-00001.snappy.parquet")
    works = [found.work for found in everything(source)]
    assert len(works) == 50
    assert works[26] is not None
    assert (works[26].id, works[26].caption) == ("26", "a drawing of 1-1")
    assert (works[26].source, works[26].contributor) == ("https://host1.example/1-1.jpg", "unknown")
    assert works[26].thumbnail == b""
    assert source.mapping == {"id": "SAMPLE_ID", "caption": "TEXT", "source": "URL", "licence": "LICENSE"}


def test_pictures_are_kept_as_they_are_and_missing_ones_are_broken(tmp_path: Path) -> None:
    pictures = [picture(0, "JPEG"), None, picture(2, "WEBP"), picture(3)[:-20], b"no picture"]
    source = open_source(write_img2dataset_parquet(tmp_path / "00000.parquet", pictures))
    found = everything(source)
    assert [one.work.thumbnail if one.work else None for one in found] == [
        pictures[0], None, pictures[2], None, None,
    ]  # fmt: skip
    assert (found[1].loss, found[1].broken) == (
        "download failed",
        "row 1 of 00000.parquet was not downloaded (failed_to_download: HTTP Error 404: Not Found); download"
        " it again, or leave it out",
    )
    assert found[3].broken.startswith("the picture of work '000000003' cannot be decoded (")
    assert found[4].broken.startswith("the picture of work '000000004' is not in a known format (10 bytes)")
    # The same rows without a look at the pictures.
    assert [one.work is None for one in source.rows("00000.parquet")] == [False, True, False, False, False]


def test_hugging_faces_struct_of_bytes_and_path_is_a_picture(tmp_path: Path) -> None:
    images = [{"bytes": picture(row), "path": f"{row}.png"} for row in range(3)]
    pq.write_table(pa.table({"image": images, "text": ["a", "b", "c"]}), tmp_path / "train-00000.parquet")
    found = everything(open_source(tmp_path))
    assert [one.work.thumbnail for one in found if one.work] == [one["bytes"] for one in images]
    assert [one.work.id for one in found if one.work] == ["train-00000-0", "train-00000-1", "train-00000-2"]


def test_a_struct_without_bytes_is_no_picture(tmp_path: Path) -> None:
    images = [{"bytes": picture(0), "path": None}, {"bytes": None, "path": "/etc/passwd"}, None]
    pq.write_table(pa.table({"image": images, "text": ["a", "b", "c"]}), tmp_path / "a.parquet")
    told = [one.broken for one in everything(open_source(tmp_path))]
    assert told[0] == ""
    assert told[1:] == [
        f"row {row} of a.parquet has no picture in column 'image'; leave it out" for row in (1, 2)
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_moments_of_any_unit_are_dates(tmp_path: Path, unit: str) -> None:
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    moments = pa.array([1_700_000_000 * factor + factor // 1000, None], pa.timestamp(unit, "Europe/Zurich"))
    pq.write_table(pa.table({"text": ["a", "b"], "created": moments}), tmp_path / "a.parquet")
    found = everything(open_source(tmp_path))
    assert [one.work.created for one in found if one.work] == [1_700_000_000, None]


def test_a_moment_after_the_last_year_of_python_is_kept(tmp_path: Path) -> None:
    moments = pa.array([10**12], pa.timestamp("s"))
    pq.write_table(pa.table({"text": ["a"], "created": moments}), tmp_path / "a.parquet")
    (found,) = everything(open_source(tmp_path))
    assert found.work is not None
    assert found.work.created == 10**12


def test_a_column_image_that_is_a_text_is_no_picture(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["https://x.example/1.png"], "text": ["a"]}), tmp_path / "a.parquet")
    source = open_source(tmp_path)
    assert source.mapping == {"caption": "text"}
    assert everything(source)[0].work is not None


def test_features_have_length_one_and_rows_that_are_none_are_broken(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(20, 6))
    features[3], features[4, 2], features[5, 1] = 0.0, np.nan, np.inf
    source = open_source(write_embedded_parquet(tmp_path / "a.parquet", features))
    assert source.has_features
    found = everything(source)
    assert [one.row for one in found if one.work is None] == [3, 4, 5]
    assert found[4].broken == (
        "row 4 of a.parquet has image features that are NaN, infinite or zero; leave it out"
    )
    rows = np.stack([one.image_features for one in found if one.image_features is not None])
    whole = np.delete(features, [3, 4, 5], axis=0)
    np.testing.assert_allclose(rows, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)


def test_a_row_of_another_width_is_broken_wherever_reading_begins(tmp_path: Path) -> None:
    lists = [[1.0, 2.0]] * 4 + [[1.0, 2.0, 3.0], None, [1.0], [0.5, 0.5]]
    table = pa.table({"text": ["x"] * 8, "image_embedding": pa.array(lists, pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    source = open_source(tmp_path)
    told = [found.broken for found in source.read("a.parquet", 4)]
    assert "row 4 of a.parquet has image features of dimension 3 instead of 2; leave it out" in told
    assert [bool(one) for one in told] == [True, True, True, False]


def test_rights_and_dates_come_from_columns(tmp_path: Path) -> None:
    holders = [[{"name": "Ann", "percent": 60.0}, {"name": "Ben", "percent": 40.0}], [], None]
    holders.append([{"name": "Ann", "percent": 60.0}, {"name": "Ben", "percent": 30.0}])
    kind = pa.list_(pa.struct([("name", pa.string()), ("percent", pa.float64())]))
    columns = {
        "id": ["a", "b", "c", "d"],
        "caption": ["one", "two", "three", "four"],
        "author": ["Ann", "Ben", "Cay", "Dan"],
        "rights_holders": pa.array(holders, kind),
        "created": pa.array([0, None, 1_700_000_000, 0], pa.timestamp("s")),
    }
    pq.write_table(pa.table(columns), tmp_path / "works.parquet")
    found = everything(open_source(tmp_path / "works.parquet"))
    works = [one.work for one in found if one.work]
    assert works[0].holders == (RightsHolder("Ann", 60.0), RightsHolder("Ben", 40.0))
    assert works[1].holders == (RightsHolder("Ben", 100.0),)
    assert [work.created for work in works] == [0, None, 1_700_000_000]
    assert found[3].broken == "the rights holders of work 'd' have 90 % together; make the sum 100 %"


def test_a_table_without_captions_is_refused_with_its_columns_and_ours(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["a"], "alt": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(
        InvalidInput, match=r"a\.parquet has none of the columns caption, TEXT, text, prompt …, only url, alt"
    ):
        open_source(tmp_path)


def test_a_row_without_a_caption_is_broken(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": ["a", "b", "c"], "text": ["x", None, "  "]}), tmp_path / "a.parquet")
    found = everything(open_source(tmp_path))
    assert [one.broken for one in found] == [
        "",
        "work 'b' has an empty caption (text); add one, or leave it out",
        "work 'c' has an empty caption (text); add one, or leave it out",
    ]


def test_texts_that_are_not_utf_8_are_read_and_counted(tmp_path: Path) -> None:
    raw = pa.array(["Möwe".encode(), "Möwe".encode("cp1252")], pa.binary())
    # What some writers do: bytes of any kind, declared as texts.
    texts = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    found = everything(open_source(tmp_path))
    assert [one.work.caption for one in found if one.work] == ["Möwe", "Möwe"]
    assert [one.notes for one in found] == [(), ("caption not in UTF-8",)]


def test_a_file_cut_off_is_one_broken_row_and_the_others_are_read(tmp_path: Path) -> None:
    directory = write_laion_parquet(tmp_path / "laion", files=3)
    first = directory / "part-00000.snappy.parquet"
    first.write_bytes(first.read_bytes()[:-200])
    source = open_source(directory)
    found = everything(source)
    assert len(found) == 51
    assert (found[0].part, found[0].row) == (first.name, 0)
    assert found[0].broken.endswith("; copy it again")
    assert list(source.read(first.name, 1)) == []


def test_a_damaged_row_group_is_one_broken_row_and_the_groups_after_it_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"a drawing of {row}" for row in range(30)]})
    pq.write_table(table, path, row_group_size=10, compression="zstd", use_dictionary=False)
    column = pq.read_metadata(path).row_group(1).column(0)
    content = bytearray(path.read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    source = open_source(path)
    found = everything(source)
    assert [one.row for one in found] == [*range(11), *range(20, 30)]
    assert found[10].broken.startswith(f"rows from 10 of {path} cannot be read (")
    assert [one.row for one in source.read("a.parquet", 11)] == list(range(20, 30))


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    source = open_source(write_laion_parquet(tmp_path / "laion"))
    with pytest.raises(NotFound, match=r"no part 'part-9' in .*laion; it has 2 parts"):
        list(source.read("part-9"))


def test_the_fingerprint_is_of_names_and_sizes(tmp_path: Path) -> None:
    directory = write_laion_parquet(tmp_path / "laion")
    before = open_source(directory).fingerprint
    assert open_source(directory).fingerprint == before
    write_laion_parquet(directory, rows=26)
    assert open_source(directory).fingerprint != before


def test_memory_is_that_of_a_few_row_groups(tmp_path: Path) -> None:
    """Sixty megabytes of pictures, twenty to a row group."""
    pictures = [np.random.default_rng(row).bytes(200_000) for row in range(300)]
    path = write_img2dataset_parquet(tmp_path / "a.parquet", pictures, per_group=20)
    del pictures
    source = open_source(path)
    before, peak = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    for _ in source.rows("a.parquet"):
        peak = max(peak, pa.total_allocated_bytes() - before)
    python_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak + python_peak < 30e6


def test_a_file_without_captions_among_others_is_one_broken_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"number": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["an owl"]}), tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"")
    found = everything(open_source(tmp_path))
    assert [(one.part, one.row, one.loss) for one in found] == [
        ("a.parquet", 0, "without a caption"),
        ("b.parquet", 0, ""),
        ("c.parquet", 0, "file cut off or damaged"),
    ]
    assert "a.parquet has none of the columns caption" in found[0].broken


def test_files_with_features_of_differing_dimension_are_refused(tmp_path: Path) -> None:
    write_embedded_parquet(tmp_path / "a.parquet", np.ones((3, 4)))
    write_embedded_parquet(tmp_path / "b.parquet", np.ones((3, 6)))
    with pytest.raises(InvalidInput, match=r"different dimensions, 4 \(a.parquet\) and 6 \(b.parquet\)"):
        open_source(tmp_path)


def test_lists_objects_and_maps_of_arrow_name_everybody(tmp_path: Path) -> None:
    columns = {
        "text": ["one", "two", "three"],
        "author": pa.array(
            [None, [{"name": "Ann"}, {"name": "Ben"}], []], pa.list_(pa.struct([("name", pa.string())]))
        ),
        "creator": pa.array([[("name", "Cid")], None, None], pa.map_(pa.string(), pa.string())),
        "artist": ["Dan", "Dan", "Dan"],
        "caption": pa.array([["", "first", "second"], None, []], pa.list_(pa.string())),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = everything(open_source(tmp_path))
    works = [one.work for one in found if one.work]
    assert [[holder.name for holder in work.holders] for work in works] == [["Cid"], ["Ann", "Ben"], ["Dan"]]
    assert [work.caption for work in works] == ["first", "two", "three"]
    assert found[0].notes == ("several captions, the first is used",)
    assert open_source(tmp_path).mapping["contributor"] == "author or creator or artist"


def test_columns_with_the_same_name_all_count(tmp_path: Path) -> None:
    table = pa.Table.from_arrays(
        [pa.array(["one"]), pa.array(["Ann"]), pa.array(["Ben"])], ["text", "author", "author"]
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (found,) = everything(open_source(tmp_path))
    assert found.work is not None
    assert [holder.name for holder in found.work.holders] == ["Ann", "Ben"]
