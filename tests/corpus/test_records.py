"""Works from other people's metadata: types, names and dates as they come."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

from creditline.corpus.columns import FIELDS, columns_of
from creditline.corpus.records import created_of, fields_of, holders_of, text_of, work_of
from creditline.corpus.rights import RightsHolder
from creditline.corpus.texts import decode_text
from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import InvalidInput

_ANN_AND_BEN = (RightsHolder("Ann", 60.0), RightsHolder("Ben", 40.0))


def test_each_name_of_each_field_is_taken_in_its_order() -> None:
    for field, known in FIELDS.items():
        for place, name in enumerate(known.names):
            assert columns_of(known.names[place:])[field][0] == name


def test_names_in_other_letters_come_after_exact_ones() -> None:
    assert columns_of(["Caption", "text", "Author"]) == {
        "caption": ("text", "Caption"),
        "contributor": ("Author",),
    }
    assert columns_of(["Caption", "Title"]) == {"caption": ("Caption",), "title": ("Title",)}


@pytest.mark.parametrize("nothing", [None, "", " ", float("nan"), "nan", [], {}, [None, ""], "NULL"])
def test_an_empty_column_does_not_hide_the_next_one(nothing: object) -> None:
    record = {
        "author": nothing,
        "creator": "Cid",
        "caption": nothing,
        "text": "an owl",
        "key": nothing,
        "id": "7",
    }
    work = work_of(fields_of(record), own_id="1")
    assert (work.contributor, work.caption, work.id) == ("Cid", "an owl", "7")


@pytest.mark.parametrize("structure", [{"id": 7}, '{"nsid": "77@N00"}', "['Ann', 'B"])
def test_a_structure_that_names_nobody_does_not_hide_the_next_column_and_is_no_name(
    structure: object,
) -> None:
    work = work_of(fields_of({"text": "an owl", "author": structure, "creator": "Cid"}), own_id="1")
    assert work.contributor == "Cid"
    assert work_of(fields_of({"text": "an owl", "author": structure}), own_id="1").contributor == "unknown"


def test_whoever_uploaded_a_work_is_credited_only_where_nobody_else_is_named() -> None:
    record = {"text": "an owl", "uploader": "Bot", "user_name": "carrier", "photographer": "Ann"}
    assert work_of(fields_of(record), own_id="1").contributor == "Ann"
    assert work_of(fields_of({**record, "photographer": None}), own_id="1").contributor == "carrier"


def test_several_contributors_share_a_works_credit_equally() -> None:
    work = work_of(fields_of({"text": "an owl", "author": ["Ann", "Ben", "Cid"]}), own_id="1")
    assert work.contributor == "Ann"
    assert [holder.name for holder in work.holders] == ["Ann", "Ben", "Cid"]
    assert [holder.percent for holder in work.holders] == pytest.approx([100 / 3] * 3)
    given = work_of(
        fields_of(
            {"text": "an owl", "author": [{"name": "Ann", "percent": 60}, {"name": "Ben", "percent": 40}]}
        ),
        own_id="1",
    )
    assert given.holders == _ANN_AND_BEN


def test_the_id_of_a_contributor_is_kept() -> None:
    record = {"text": "an owl", "author": "Ann", "orcid": "0000-0002-1825-0097"}
    assert work_of(fields_of(record), own_id="1").contributor_id == "0000-0002-1825-0097"


def test_laions_row_becomes_a_work() -> None:
    row = {
        "SAMPLE_ID": 1581282014547.0,
        "URL": "https://Pictures.example:8080/owl.png?x=1",
        "TEXT": "an owl ",
        "LICENSE": None,
    }
    work = work_of(fields_of(row), own_id="0-0")
    assert (work.id, work.caption, work.title) == ("1581282014547", "an owl", "an owl")
    assert (work.contributor, work.licence) == ("unknown", "unknown")
    assert work.source == "https://Pictures.example:8080/owl.png?x=1"


def test_a_withdrawal_by_the_host_that_works_were_once_credited_to_still_holds() -> None:
    withdrawn = Withdrawn(contributors=frozenset({"pictures.example"}))
    record = {"text": "an owl", "url": "https://Pictures.example:8080/owl.png"}
    assert withdrawn.leaves_out(work_of(fields_of(record), own_id="1"))
    assert not withdrawn.leaves_out(work_of(fields_of({**record, "author": "Ann"}), own_id="1"))
    for source in ("http://[half", "https://", "animals/owl.png", "https:///owl.png"):
        assert not withdrawn.leaves_out(work_of({"caption": "an owl", "source": source}, own_id="1"))


def test_keywords_come_as_a_list_or_as_one_text() -> None:
    for keywords in (["bird", "night", "bird", ""], '["bird", "night"]', "bird; night", "bird, night,"):
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
        [{"name": "Ann", "share": "60%"}, {"name": "Ben", "share": "40 %"}],
    ],
)
def test_rights_holders_come_in_several_forms(given: object) -> None:
    assert holders_of(given, "owl") == _ANN_AND_BEN


def test_one_holder_without_a_part_has_the_whole() -> None:
    assert holders_of("Ann & Co.", "owl") == (RightsHolder("Ann & Co.", 100.0),)
    assert (
        holders_of('["Ann"]', "owl") == holders_of([{"name": "Ann"}], "owl") == (RightsHolder("Ann", 100.0),)
    )
    assert holders_of("", "owl") == holders_of([], "owl") == ()


def test_holders_without_percentages_have_equal_parts() -> None:
    assert holders_of("Ann; Ben", "owl") == (RightsHolder("Ann", 50.0), RightsHolder("Ben", 50.0))


def test_a_holder_without_a_percentage_beside_one_with_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'Ben' of work 'owl' has no percentage and others have"):
        holders_of([{"name": "Ann", "percent": 60}, {"name": "Ben"}], "owl")


@pytest.mark.parametrize("given", ["Ann: 60; Ben", '["Ann", 2', 7, True, {"Ann": "half"}])
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
        ("2021:03:04 05:00:00", datetime(2021, 3, 4, 5, tzinfo=UTC)),
        ({"value": "2021-03-04"}, datetime(2021, 3, 4, tzinfo=UTC)),
        (np.datetime64("2021-03-04T05:00:00", "ns"), datetime(2021, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_dates_are_years_iso_dates_or_seconds(given: object, moment: datetime) -> None:
    assert created_of(given) == int(moment.timestamp())


@pytest.mark.parametrize(
    "given", [None, "", "about 1890", True, float("nan"), "inf", [1890], np.datetime64("NaT")]
)
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
        ('["first", "second"]', "first"),
        ({"value": "Owl", "source": "commons"}, "Owl"),
        ([{"raw": "an owl", "id": 1}], "an owl"),
        ({"en": "owl", "de": "Eule"}, "owl"),
        ("[an owl]", "[an owl]"),
        (np.float32(3.0), "3"),
        (np.str_("owl"), "owl"),
        (np.array(["owl", "bird"]), "owl"),
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
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
    ],
)
def test_encodings_are_told_by_their_marks_or_guessed(encoding: str, told: str) -> None:
    assert decode_text("Zürich – “Möwe”".encode(encoding)) == ("Zürich – “Möwe”", told)


def test_bytes_that_no_encoding_knows_are_latin_1() -> None:
    assert decode_text(b"caf\xe9 \x81") == ("café \x81", "latin-1")
    assert decode_text("Möwe".encode("utf-16")[:-1])[1] == "utf-16"
