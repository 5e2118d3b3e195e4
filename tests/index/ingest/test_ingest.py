"""Ingest of a source: complete, by two loaders, resumed, and with broken rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.sources import Found, Source, open_source
from creditline.corpus.sources.found import Features
from creditline.corpus.works import Work
from creditline.errors import Conflict, FingerprintMismatch, InvalidInput, NotReady, Unavailable
from creditline.index import WorkIndex
from creditline.index.encoders import record_encoder
from creditline.index.ingest.checkpoint import Checkpoint, Counts
from creditline.index.ingest.ingest import Ingest, Loader, Progress
from creditline.index.ingest.reading import next_batch
from creditline.index.ingest.vectors import SourceFeatures
from creditline.retries import RetryPolicy
from tests.index.conftest import GRAPH_PLAN
from tests.index.works_made_up import WIDTH, unit_vectors
from tests.local.qdrant_process import start_qdrant

_PART_WORKS = 300
_BATCH = 64
_PLAN = replace(GRAPH_PLAN, upsert_batch=_BATCH)
_COLLECTION = "ingested"


def _write_part(
    directory: Path,
    number: int,
    *,
    spoil: bool = False,
    more: int = 0,
    first: int = 0,
    caption: str = "picture",
    contributor: str = "",
) -> None:
    """Write a part as clip-retrieval does; `spoil` gives two rows no direction and one no caption.

    Its rows are numbered from `first`, and `more` follow the usual number of rows.
    """
    vectors = 3.0 * unit_vectors(_PART_WORKS + more, seed=number)[: _PART_WORKS + more]
    rows = range(first, first + _PART_WORKS + more)
    captions = [f"{caption} {number}-{row}" for row in rows]
    if spoil:
        vectors[5], vectors[70], captions[131] = np.nan, 0.0, ""
    np.save(directory / f"img_emb_{number}.npy", vectors.astype(np.float16))
    columns = {
        "key": [f"{number:03d}-{row:05d}" for row in rows],
        "caption": captions,
        "url": [f"https://pictures.example/{number}/{row}.png" for row in rows],
        "author": [contributor] * len(rows),
    }
    pq.write_table(pa.table(columns), directory / f"metadata_{number}.parquet")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Three parts of 300 rows, one of them with three broken rows."""
    directory = tmp_path / "features"
    directory.mkdir()
    for number in range(3):
        _write_part(directory, number, spoil=number == 1)
    return open_source(directory)


@pytest.fixture
def index_of_batches(qdrant_port: int) -> Iterator[WorkIndex]:
    """An index with an empty collection and small batches."""
    with WorkIndex.connect(grpc_port=qdrant_port, plan=_PLAN) as index:
        index.create(_COLLECTION, WIDTH)
        yield index
        index.delete(_COLLECTION)


@pytest.fixture
def ingest(source: Source, index_of_batches: WorkIndex) -> Ingest:
    return Ingest(source, index_of_batches, _COLLECTION, SourceFeatures())


def _checkpoint(ingest: Ingest, tmp_path: Path) -> Checkpoint:
    return Checkpoint.open(
        tmp_path / "checkpoint", ingest.loader.name, belongs_to=ingest.identity, former=ingest.former
    )


def test_every_work_is_written_and_broken_rows_are_listed(ingest: Ingest, tmp_path: Path) -> None:
    checkpoint = _checkpoint(ingest, tmp_path)
    report = ingest.run(checkpoint)
    assert (report.works, report.broken, report.written) == (897, 3, 897)
    assert ingest.index.count(_COLLECTION) == 897
    listed = [json.loads(line) for line in checkpoint.broken_rows.read_text().splitlines()]
    assert sorted(("_1." in row["part"], row["row"]) for row in listed) == [
        (True, 5),
        (True, 70),
        (True, 131),
    ]
    (stored,) = ingest.index.vectors(_COLLECTION, ["002-00007"])
    np.testing.assert_allclose(stored, unit_vectors(_PART_WORKS, seed=2)[7], atol=2e-3)


def test_running_a_finished_ingest_again_does_nothing(ingest: Ingest, tmp_path: Path) -> None:
    ingest.run(_checkpoint(ingest, tmp_path))
    again = ingest.run(_checkpoint(ingest, tmp_path))
    assert (again.works, again.broken, again.written) == (897, 3, 0)


class _StoppedError(Exception):
    """Stands for the sudden end of the process."""


def _stopping_after(batches: int) -> Callable[[Progress], None]:
    """A progress listener that ends the ingest after a number of acknowledged batches."""
    left = [batches]

    def count(progress: Progress) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise _StoppedError

    return count


@pytest.mark.parametrize("batches", [1, 5, 6, 9, 14])
def test_a_stopped_ingest_resumes_without_missing_or_duplicate_works(
    ingest: Ingest, tmp_path: Path, batches: int
) -> None:
    with pytest.raises(_StoppedError):
        replace(ingest, on_progress=_stopping_after(batches)).run(_checkpoint(ingest, tmp_path))
    checkpoint = _checkpoint(ingest, tmp_path)
    done = checkpoint.position
    assert done.works + done.broken == batches * _BATCH
    report = ingest.run(checkpoint)
    assert (report.works, report.broken, report.written) == (897, 3, 897 - done.works)
    assert ingest.index.count(_COLLECTION) == 897
    assert len(checkpoint.broken_rows.read_text().splitlines()) == 3


def test_two_loaders_share_the_parts(ingest: Ingest, tmp_path: Path) -> None:
    for number, works in ((0, 600), (1, 297)):
        loader = replace(ingest, loader=Loader(number, 2))
        assert loader.run(_checkpoint(loader, tmp_path)).works == works
    assert ingest.index.count(_COLLECTION) == 897


def test_a_checkpoint_of_another_source_is_not_resumed(ingest: Ingest, tmp_path: Path) -> None:
    ingest.run(_checkpoint(ingest, tmp_path))
    (tmp_path / "others").mkdir()
    _write_part(tmp_path / "others", 0)
    other = replace(ingest, source=open_source(tmp_path / "others"))
    with pytest.raises(Conflict, match="belongs to another ingest"):
        _checkpoint(other, tmp_path)


def test_a_source_that_has_grown_is_continued_with_its_new_parts(ingest: Ingest, tmp_path: Path) -> None:
    ingest.run(_checkpoint(ingest, tmp_path))
    _write_part(tmp_path / "features", 3)
    grown = replace(ingest, source=open_source(tmp_path / "features"))
    report = grown.run(_checkpoint(grown, tmp_path))
    assert (report.run, report.works, report.changed_parts) == (Counts(written=300), 1197, ())
    assert ingest.index.count(_COLLECTION) == 1197


def test_a_part_that_has_grown_is_read_again_and_its_known_works_are_kept(
    ingest: Ingest, tmp_path: Path
) -> None:
    ingest.run(_checkpoint(ingest, tmp_path))
    record_encoder(ingest.index, _COLLECTION, ingest.vectors.fingerprint)
    _write_part(tmp_path / "features", 2, more=20)
    grown = replace(ingest, source=open_source(tmp_path / "features"))
    report = grown.run(_checkpoint(grown, tmp_path))
    assert report.run == Counts(written=20, kept=300)
    assert report.changed_parts == ("img_emb_2.npy",)
    assert grown.run(_checkpoint(grown, tmp_path)).run == Counts()


def test_a_checkpoint_of_the_first_version_is_resumed(ingest: Ingest, tmp_path: Path) -> None:
    position = {"part": 1, "row": 40, "works": 338, "broken": 2, "broken_bytes": 0, "finished": False}
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    content = {"belongs_to": ingest.former.belongs_to, **position}
    (directory / f"{ingest.loader.name}.json").write_text(json.dumps(content))
    report = ingest.run(_checkpoint(ingest, tmp_path))
    assert (report.written, ingest.index.count(_COLLECTION)) == (558, 558)
    assert ingest.run(_checkpoint(ingest, tmp_path)).run == Counts()


def test_works_are_never_replaced_by_others_with_their_ids(ingest: Ingest, tmp_path: Path) -> None:
    ingest.run(_checkpoint(ingest, tmp_path))
    directory = tmp_path / "others"
    directory.mkdir()
    _write_part(directory, 2, caption="another picture")
    others = replace(ingest, source=open_source(directory))
    with pytest.raises(Conflict, match="all 64 works of the first batch have ids") as conflict:
        others.run(Checkpoint.open(tmp_path / "second", "loader", belongs_to=others.identity))
    assert 'creditline-source.json in its directory with {"ids": "NAME"}' in conflict.value.message
    over = replace(others, overwrite=True)
    report = over.run(Checkpoint.open(tmp_path / "second", "loader", belongs_to=over.identity))
    assert report.run == Counts(replaced=300)
    assert ingest.index.count(_COLLECTION) == 897


def test_a_work_whose_id_is_taken_is_refused_and_listed(ingest: Ingest, tmp_path: Path) -> None:
    ingest.run(_checkpoint(ingest, tmp_path))
    directory = tmp_path / "others"
    directory.mkdir()
    _write_part(directory, 2, first=-280, caption="another picture")
    others = replace(ingest, source=open_source(directory))
    checkpoint = Checkpoint.open(tmp_path / "second", "loader", belongs_to=others.identity)
    report = others.run(checkpoint)
    assert report.run == Counts(written=280, refused=20)
    assert "holds another work under the id '002-00000'" in checkpoint.broken_rows.read_text()


def test_a_work_with_newer_metadata_is_replaced_and_counted(ingest: Ingest, tmp_path: Path) -> None:
    ingest.run(_checkpoint(ingest, tmp_path))
    record_encoder(ingest.index, _COLLECTION, ingest.vectors.fingerprint)
    _write_part(tmp_path / "features", 2, contributor="Ana")
    newer = replace(ingest, source=open_source(tmp_path / "features"))
    checkpoint = Checkpoint.open(tmp_path / "second", "loader", belongs_to=newer.identity)
    assert newer.run(checkpoint).run == Counts(replaced=300, kept=597, broken=3)


def test_vectors_of_another_encoder_are_refused(ingest: Ingest, tmp_path: Path) -> None:
    record_encoder(ingest.index, _COLLECTION, "release other, towers 00")
    with pytest.raises(FingerprintMismatch, match="made by release other, towers 00, these by features as"):
        ingest.run(_checkpoint(ingest, tmp_path))


def test_a_collection_of_another_dimension_is_refused_before_anything_is_written(
    ingest: Ingest, tmp_path: Path
) -> None:
    ingest.index.create("narrow", WIDTH // 2)
    narrow = replace(ingest, collection="narrow")
    with pytest.raises(InvalidInput, match=r"\(32,\), but collection 'narrow' has vectors of shape \(16,\)"):
        narrow.run(_checkpoint(narrow, tmp_path))
    assert ingest.index.count("narrow") == 0
    ingest.index.delete("narrow")


@dataclass(frozen=True)
class _EvenRows(SourceFeatures):
    """Refuses the rows with odd numbers, as an embedder refuses pictures."""

    def embed(self, found: Sequence[Found]) -> list[Features | str]:
        vectors = super().embed(found)
        return [
            f"picture {row.row} is torn" if row.row % 2 else vector
            for row, vector in zip(found, vectors, strict=True)
        ]


def test_rows_that_cannot_be_embedded_are_listed_with_their_reasons(ingest: Ingest, tmp_path: Path) -> None:
    even = replace(ingest, vectors=_EvenRows())
    checkpoint = _checkpoint(even, tmp_path)
    assert even.run(checkpoint).run == Counts(written=449, broken=451)
    listed = [json.loads(line) for line in checkpoint.broken_rows.read_text().splitlines()]
    reasons = {row["row"]: row["reason"] for row in listed if "_1." in row["part"]}
    assert reasons[1] == "picture 1 is torn"


@pytest.mark.parametrize(
    ("picture_bytes", "rows", "sizes"), [(20_000_000, 10, [4, 4, 2]), (1_000, 10, [10]), (0, 25, [12, 12, 1])]
)
def test_a_batch_ends_by_its_bytes_or_its_rows(picture_bytes: int, rows: int, sizes: list[int]) -> None:
    work = Work("w", "", "a red square", (), "somebody", "", "", "", bytes(picture_bytes))
    found = iter([Found("part", row, work, None, None, "") for row in range(rows)])
    batches = iter(lambda: next_batch(found, 12), [])
    assert [len(batch) for batch in batches] == sizes


def test_a_missing_collection_is_reported(ingest: Ingest, tmp_path: Path) -> None:
    missing = replace(ingest, collection="missing")
    with pytest.raises(NotReady, match="no collection 'missing'"):
        missing.run(_checkpoint(missing, tmp_path))


def test_withdrawn_works_are_written_as_withdrawn(ingest: Ingest, tmp_path: Path) -> None:
    withheld = replace(ingest, withdrawn=lambda work: work.id.endswith("7"))
    withheld.run(_checkpoint(withheld, tmp_path))
    assert ingest.index.count(_COLLECTION, withdrawn=True) == 90


def test_an_ingest_waits_for_an_index_that_restarts(source: Source, tmp_path: Path) -> None:
    running = start_qdrant(tmp_path / "qdrant")
    replaced = []

    def end_and_start_again(progress: Progress) -> None:
        if not replaced:
            running.process.kill()
            running.process.wait()
            replaced.append(start_qdrant(tmp_path / "qdrant", port=running.port))

    with WorkIndex.connect(grpc_port=running.port, plan=_PLAN) as index:
        index.create(_COLLECTION, WIDTH)
        ingest = Ingest(source, index, _COLLECTION, SourceFeatures(), on_progress=end_and_start_again)
        report = ingest.run(_checkpoint(ingest, tmp_path))
        assert (report.written, index.count(_COLLECTION)) == (897, 897)
    for each in replaced:
        each.process.terminate()
        each.process.wait(60)


def test_an_index_that_stays_down_ends_the_ingest_with_its_progress_saved(
    source: Source, tmp_path: Path
) -> None:
    running = start_qdrant(tmp_path / "qdrant")
    with WorkIndex.connect(grpc_port=running.port, plan=_PLAN) as index:
        index.create(_COLLECTION, WIDTH)

        def end(progress: Progress) -> None:
            running.process.kill()
            running.process.wait()

        ingest = Ingest(
            source,
            index,
            _COLLECTION,
            SourceFeatures(),
            retries=RetryPolicy(max_seconds=0.5),
            on_progress=end,
        )
        checkpoint = _checkpoint(ingest, tmp_path)
        with pytest.raises(Unavailable, match="creditline local up"):
            ingest.run(checkpoint)
    assert checkpoint.position.works >= _BATCH
