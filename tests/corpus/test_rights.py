"""Who gets a work's credit: the contributor, or several holders with parts of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.rights import RightsHolder
from creditline.corpus.works import Corpus, read_corpus, write_corpus
from creditline.errors import InvalidInput


def test_a_work_without_named_holders_belongs_to_its_contributor(small_corpus: Corpus) -> None:
    work = small_corpus.works[0]
    assert work.rights_holders == ()
    assert work.holders == (RightsHolder(work.contributor, 100.0),)


def test_holders_and_dates_are_written_and_read_again(small_corpus: Corpus, tmp_path: Path) -> None:
    first, second, *rest = small_corpus.works
    shared = replace(
        first, rights_holders=(RightsHolder("Ann", 66.67), RightsHolder("Ben", 33.33)), created=-5
    )
    corpus = Corpus(
        "shared", (shared, replace(second, created=1_700_000_000, contributor_id="account:5"), *rest)
    )
    write_corpus(corpus, tmp_path / "shared.parquet")
    assert read_corpus(tmp_path / "shared.parquet") == corpus
    assert corpus.fingerprint == small_corpus.fingerprint


def test_a_corpus_written_before_there_were_holders_is_read_as_ever() -> None:
    corpus = embedded_corpus()
    assert corpus.fingerprint == "6dea7a30ce6292e9f09a441a655d58240f88fed723b3886750d3c46131a01273"
    assert {(work.rights_holders, work.created, work.contributor_id) for work in corpus} == {((), None, "")}


@pytest.mark.parametrize(
    ("percents", "sentence"),
    [
        ((60.0, 39.0), "of work '.*' have 99 % together; make the sum 100 %"),
        ((100.0, 0.0), "'B' of work '.*' has 0 %; give a percentage above 0"),
        ((150.0, -50.0), "'B' of work '.*' has -50 %"),
        ((float("nan"), 50.0), "'A' of work '.*' has nan %"),
    ],
)
def test_parts_that_are_not_the_whole_are_refused(
    small_corpus: Corpus, percents: tuple[float, ...], sentence: str
) -> None:
    holders = tuple(RightsHolder(name, percent) for name, percent in zip("AB", percents, strict=True))
    with pytest.raises(InvalidInput, match=sentence):
        replace(small_corpus.works[0], rights_holders=holders)


def test_a_hundredth_of_a_percent_is_rounding(small_corpus: Corpus) -> None:
    holders = tuple(map(RightsHolder, "ABC", (33.33, 33.33, 33.335)))
    assert len(replace(small_corpus.works[0], rights_holders=holders).holders) == 3


def test_a_holder_named_twice_is_refused(small_corpus: Corpus) -> None:
    with pytest.raises(InvalidInput, match="'Ann', 'Ann'; name each one exactly once"):
        replace(small_corpus.works[0], rights_holders=(RightsHolder("Ann", 50.0), RightsHolder("Ann", 50.0)))
