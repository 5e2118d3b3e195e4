"""Works from other people's metadata: types, names and dates as they come."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from creditline.corpus.columns import FIELDS, columns_of
from creditline.corpus.records import created_of, fields_of, holders_of, text_of, work_of
from creditline.corpus.rights import RightsHolder
from creditline.corpus.texts import decode_text
from creditline.errors import InvalidInput

_ANN_AND_BEN = (RightsHolder("Ann", 60.0), RightsHolder("Ben", 40.0))


def test_each_name_of_each_field_is_taken_in_its_order() -> None:
    for field, known in FIELDS.items():
        for place, name in enumerate(known.names):
            assert columns_of(known.names[place:])[field] == name


def test_names_in_other_letters_come_after_exact_ones() -> None:
    assert columns_of(["Caption", "text", "Author"]) == {"caption": "text", "contributor": "Author"}
    assert columns_of(["Caption", "Title"]) == {"caption": "Caption", "title": "Title"}


def test_laions_row_becomes_a_work() -> None:
    row = {
        "SAMPLE_ID": 1581282014547.0,
        "URL": "https://Pictures.example:8080/owl.png?x=1",
        "TEXT": "an owl ",
        "LICENSE": None,
    }
    work = work_of(fields_of(row), own_id="0-0")
    assert (work.id, work.caption, work.title) == ("1581282014547", "an owl", "an owl")
    assert (work.contributor, work.licence) == ("pictures.example", "unknown")
    assert work.source == "https://Pictures.example:8080/owl.png?x=1"


def test_a_source_that_is_half_an_address_names_nobody() -> None:
    for source in ("http://[half", "https://", "animals/owl.png", "https:///owl.png"):
        assert work_of({"caption": "an owl", "source": source}, own_id="1").contributor == "unknown"


def test_keywords_come_as_a_list_or_as_one_text() -> None:
    for keywords in (["bird", "night", "bird", ""], "bird; night", "bird, night,"):
        work = work_of({"caption": "an owl", "keywords": keywords}, own_id="1")
        assert work.keywords == ("bird", "night")


@pytest.mark.parametrize(
    "given",
    [
        [{"name": "Ann", "percent": 60}, {"name": "Ben", "percent": 40}],
        {"Ann": 60, "Ben": "40"},
        [("Ann", 60.0), ("Ben", 40.0)],
        '[{"name": "Ann", "percent": 60}, {"name": "Ben", "percent": 40}]',
        '{"Ann": 60, "Ben": 40}',
        "Ann: 60; Ben: 40",
        "Ann = 60 %;Ben=40%;",
    ],
)
def test_rights_holders_come_in_several_forms(given: object) -> None:
    assert holders_of(given, "owl") == _ANN_AND_BEN


def test_one_holder_without_a_part_has_the_whole() -> None:
    assert holders_of("Ann & Co.", "owl") == (RightsHolder("Ann & Co.", 100.0),)
    assert holders_of("", "owl") == holders_of([], "owl") == ()


@pytest.mark.parametrize("given", ["Ann; Ben", "[1, 2", '["Ann"]', 7, [{"name": "Ann"}], {"Ann": "half"}])
def test_other_forms_of_rights_are_refused_by_the_works_name(given: object) -> None:
    with pytest.raises(InvalidInput, match=r"rights holders of work .owl. cannot be parsed from .*; write"):
        holders_of(given, "owl")


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        (1890, datetime(1890, 1, 1, tzinfo=UTC)),
        ("1890", datetime(1890, 1, 1, tzinfo=UTC)),
        ("2021-03-04", datetime(2021, 3, 4, tzinfo=UTC)),
        ("2021-03-04T05:06:07+02:00", datetime(2021, 3, 4, 3, 6, 7, tzinfo=UTC)),
        ("2021-03-04T05:06:07Z", datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)),
        (date(2021, 3, 4), datetime(2021, 3, 4, tzinfo=UTC)),
        (datetime(2021, 3, 4, 5), datetime(2021, 3, 4, 5, tzinfo=UTC)),
        (1_614_834_000, datetime(2021, 3, 4, 5, tzinfo=UTC)),
        (1_614_834_000.9, datetime(2021, 3, 4, 5, tzinfo=UTC)),
        ("1614834000", datetime(2021, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_dates_are_years_iso_dates_or_seconds(given: object, moment: datetime) -> None:
    assert created_of(given) == int(moment.timestamp())


@pytest.mark.parametrize("given", [None, "", "about 1890", True, float("nan"), "inf", [1890]])
def test_what_is_no_date_gives_none(given: object) -> None:
    assert created_of(given) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (3, "3"),
        (0.5, "0.5"),
        ("  Tom\0ás ", "Tomás"),
        ("half \ud83d", "half ?"),
        ("Tomás".encode("cp1252"), "Tomás"),
        (["", "first", "second"], "first"),
    ],
)
def test_texts_of_any_type(given: object, text: str) -> None:
    assert text_of(given) == text


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings_are_told_by_their_marks_or_guessed(encoding: str, told: str) -> None:
    assert decode_text("Zürich – “Möwe”".encode(encoding)) == ("Zürich – “Möwe”", told)


def test_bytes_that_no_encoding_knows_are_latin_1() -> None:
    assert decode_text(b"caf\xe9 \x81") == ("café \x81", "latin-1")
    assert decode_text("Möwe".encode("utf-16")[:-1])[1] == "utf-16"
