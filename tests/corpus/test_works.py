"""Corpora: fingerprints, round trips, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.works import Corpus, Work, read_corpus, write_corpus
from creditline.errors import InvalidInput, NotFound, NotReady


def test_what_is_written_is_read_again(small_corpus: Corpus, tmp_path: Path) -> None:
    write_corpus(small_corpus, tmp_path / "works.parquet")
    read = read_corpus(tmp_path / "works.parquet", name=small_corpus.name)
    assert read == small_corpus
    assert read.fingerprint == small_corpus.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda work: replace(work, caption=f"{work.caption}!"),
        lambda work: replace(work, id=f"{work.id}-2"),
        lambda work: replace(work, thumbnail=work.thumbnail + b"\0"),
    ],
    ids=["caption", "id", "picture"],
)
def test_the_fingerprint_changes_with_what_the_generator_was_trained_on(small_corpus: Corpus, change) -> None:
    works = list(small_corpus.works)
    works[17] = change(works[17])
    assert Corpus(small_corpus.name, tuple(works)).fingerprint != small_corpus.fingerprint


def test_the_fingerprint_knows_the_order_but_not_the_name(small_corpus: Corpus) -> None:
    assert Corpus("another", small_corpus.works).fingerprint == small_corpus.fingerprint
    assert Corpus("turned", small_corpus.works[::-1]).fingerprint != small_corpus.fingerprint


def test_neighbouring_fields_cannot_be_mixed_up_in_the_fingerprint(small_corpus: Corpus) -> None:
    work = small_corpus.works[0]
    first = replace(work, id="ab", caption="c")
    second = replace(work, id="a", caption="bc")
    assert Corpus("x", (first,)).fingerprint != Corpus("x", (second,)).fingerprint


def test_a_work_is_found_by_its_id_and_an_unknown_one_refused(small_corpus: Corpus) -> None:
    assert [small_corpus.row(work_id) for work_id in small_corpus.ids] == list(range(len(small_corpus)))
    with pytest.raises(NotFound, match="'oca-nothing' is not in corpus 'small'") as refused:
        small_corpus.row("oca-nothing")
    assert refused.value.field == "work_id"


def test_a_subset_has_the_order_it_was_asked_for(small_corpus: Corpus) -> None:
    wanted = list(reversed(small_corpus.ids[5:9]))
    assert list(small_corpus.subset(wanted, name="few").ids) == wanted


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="creditline corpus pack"):
        read_corpus(tmp_path / "nothing.parquet")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "title": ["b"]}), tmp_path / "few.parquet")
    with pytest.raises(InvalidInput, match="lacks the columns caption, keywords, contributor"):
        read_corpus(tmp_path / "few.parquet")


def test_the_same_id_twice_is_refused(small_corpus: Corpus, tmp_path: Path) -> None:
    twice = Corpus("twice", (small_corpus.works[0], small_corpus.works[0]))
    write_corpus(twice, tmp_path / "twice.parquet")
    with pytest.raises(InvalidInput, match="same work id twice"):
        read_corpus(tmp_path / "twice.parquet")


def test_the_folder_is_the_first_directory_of_the_source() -> None:
    work = Work("a", "a", "a", (), "x", "Public Domain", "animals/birds/owl.png", "a", b"")
    assert work.folder == "animals"
