"""The dry run: everything counted that an ingest would meet, and nothing kept that grows with the works."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.sources import Found, open_source, survey
from creditline.corpus.sources.seen_ids import Distinct, Place, SeenIds
from creditline.corpus.sources.survey import Duplicate
from tests.corpus.sources.examples import (
    EXAMPLES,
    everything,
    write_folder,
    write_img2dataset_parquet,
    write_laion_parquet,
)
from tests.corpus.works_factory import plain_works


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_works_and_broken_rows_are_those_that_reading_gives(name: str, tmp_path: Path) -> None:
    source = open_source(EXAMPLES[name](tmp_path / "corpus"))
    found, told = everything(source), survey(source)
    assert told.works == sum(one.work is not None for one in found)
    assert told.broken == sum(one.work is None for one in found)
    assert [(one.part, one.row, one.reason) for one in told.first_broken] == [
        (one.part, one.row, one.broken) for one in found if one.work is None
    ]
    assert told.contributors == len({holder.name for one in found if one.work for holder in one.work.holders})
    assert sum(told.licences.values()) == told.works
    assert told.sample == tuple(one.work for one in found if one.work)[:3]
    assert (told.kind, told.parts, told.is_whole) == (source.kind, len(source.parts()), True)
    assert told.has_features == (told.image_width > 0) == source.has_features
    assert told.duplicates == 0


def test_bytes_and_fingerprint_are_the_sources(tmp_path: Path) -> None:
    source = open_source(write_laion_parquet(tmp_path / "laion"))
    told = survey(source)
    assert told.size == sum(path.stat().st_size for path in (tmp_path / "laion").iterdir())
    assert told.fingerprint == source.fingerprint
    assert told.mapping == source.mapping


def test_pictures_are_looked_at_unless_told_not_to(tmp_path: Path) -> None:
    source = open_source(write_img2dataset_parquet(tmp_path / "a.parquet", [b"one", b"two", None]))
    assert (survey(source).works, survey(source).broken) == (0, 3)
    assert survey(source).losses == {"picture not decoded": 2, "download failed": 1}
    unseen = survey(source, check_pictures=False)
    assert (unseen.works, unseen.broken, unseen.with_picture, unseen.pictures_checked) == (2, 1, 2, False)


def test_the_first_rows_only(tmp_path: Path) -> None:
    source = open_source(write_laion_parquet(tmp_path / "laion"))
    assert (survey(source, limit=30).works, survey(source, limit=30).is_whole) == (30, False)
    assert (survey(source, limit=50).works, survey(source, limit=50).is_whole) == (50, True)


def test_captions_not_in_utf_8_are_counted(tmp_path: Path) -> None:
    assert survey(open_source(write_folder(tmp_path / "folder"))).notes == {"caption not in UTF-8": 1}


def test_dates_that_are_not_understood_are_counted_and_left_out(tmp_path: Path) -> None:
    columns = {"text": ["a", "b", "c"], "created": ["about 1890", "1890", None]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    told = survey(open_source(tmp_path))
    assert told.notes == {"date not understood, left out": 1}
    assert [work.created is None for work in told.sample] == [True, False, True]


def test_ids_that_come_twice_are_told_with_both_places(tmp_path: Path) -> None:
    for part, keys in (("a", ["1", "2", "3", "2"]), ("b", ["4", "1", "2", None])):
        table = pa.table({"id": keys, "text": ["x"] * 4})
        pq.write_table(table, tmp_path / f"{part}.parquet")
    told = survey(open_source(tmp_path))
    assert told.duplicates == 3
    assert told.first_duplicates == (
        Duplicate("2", Place("a.parquet", 1), Place("a.parquet", 3)),
        Duplicate("1", Place("a.parquet", 0), Place("b.parquet", 1)),
        Duplicate("2", Place("a.parquet", 1), Place("b.parquet", 2)),
    )


class _Endless:
    """Many works that exist only while they are read."""

    kind, name, has_features, fingerprint, size = "folder", "endless", False, "0" * 64, 0
    mapping: Mapping[str, str] = {}

    def parts(self) -> tuple[str, ...]:
        return ("a",)

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        work = plain_works(1)[0]
        for row in range(start, 60_000):
            yield Found(part, row, type(work)(**{**vars(work), "id": f"{'i' * 200}{row}"}), None, None, "")

    read = rows


def test_memory_is_a_few_bytes_a_work() -> None:
    tracemalloc.start()
    told = survey(_Endless())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told.works == 60_000
    assert peak < 60_000 * 40


def test_places_are_right_where_rows_are_missing_or_hold_no_work() -> None:
    seen = SeenIds()
    for part, row, work_id in (("a", 0, "x"), ("a", 5, None), ("a", 9, "y"), ("b", 2, None), ("b", 3, "y")):
        seen.add(part, row, work_id)
    assert seen.repeated() == 1
    assert list(seen.repetitions()) == [(Place("a", 9), Place("b", 3))]
    assert SeenIds().repeated() == 0


def test_different_texts_are_counted_across_compactions() -> None:
    distinct = Distinct(compacted_every=7)
    for number in range(100):
        distinct.add(f"contributor {number % 31}")
    assert distinct.count() == 31


def test_free_texts_as_licences_are_counted_together_after_the_first_thousand(tmp_path: Path) -> None:
    columns = {"text": ["x"] * 1500, "license": [f"licence {row}" for row in range(1500)]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    licences = survey(open_source(tmp_path)).licences
    assert len(licences) == 1001
    assert licences["other licences"] == 500
