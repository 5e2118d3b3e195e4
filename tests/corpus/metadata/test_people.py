"""Names in metadata as it comes: lists, objects, HTML, texts of structures, and values that name nobody."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from creditline.corpus.metadata.people import Named, NotUnderstood, named_people


def _names(value: object) -> list[str]:
    return [one.name for one in named_people(value)]


@pytest.mark.parametrize(
    "given",
    [
        ["Ann", "Ben"],
        ("Ann", None, "Ben", ""),
        "Ann; Ben",
        " Ann ;Ben;",
        '["Ann", "Ben"]',
        "['Ann', 'Ben']",
        "['Ann'\n 'Ben']",
        "('Ann', 'Ben')",
        [{"name": "Ann"}, {"name": "Ben"}],
        '[{"name": "Ann", "orcid": "0000"}, {"name": "Ben"}]',
        "[{'name': 'Ann'}, {'name': 'Ben'}]",
        {"name": ["Ann", "Ben"]},
        [["Ann"], ["Ben"]],
        ["Ann; Ben"],
        b"Ann; Ben",
        np.array(["Ann", "Ben"], dtype=object),
        pa.array(["Ann", "Ben"]).to_pylist(),
        ["Ann", {"nm": 7}, "Ben"],
        ["Ann", "Ben", "ann", "A\u200bnn"],
        [{"name": "Bot", "role": "uploader"}, {"name": "Ann", "role": "artist"}, {"name": "Ben"}],
        '<a href="//commons.example/User:Ann" title="User:Ann">Ann</a>, <a href="#">Ben</a>',
        "<ul><li>Ann</li><li>Ben</li></ul>",
    ],
)
def test_everybody_is_named_whatever_the_form(given: object) -> None:
    assert _names(given) == ["Ann", "Ben"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Lee, Ann", "Lee, Ann"),
        ({"name": "Ann"}, "Ann"),
        ('{"name": "Ann"}', "Ann"),
        ([("name", "Ann"), ("id", "7")], "Ann"),
        ({"@type": "Person", "name": "Ann"}, "Ann"),
        ({"first_name": "Ann", "last_name": "Lee"}, "Ann Lee"),
        ({"name": {"first": "Ann", "last": "Lee"}}, "Ann Lee"),
        ({"nsid": "77@N00", "username": "ann7", "realname": "Ann Lee"}, "Ann Lee"),
        ({"nsid": "77@N00", "username": "ann7", "realname": ""}, "ann7"),
        ({"value": "<b>Ann</b>", "source": "commons"}, "Ann"),
        ({"en": "Ann", "de": "Anne"}, "Ann"),
        ([{"name": "Bot", "role": "uploader"}], "Bot"),
        ('"Ann"', "Ann"),
        ("[Ann]", "Ann"),
        ("Ann <ann@mail.example>", "Ann <ann@mail.example>"),
        ("AT&amp;T", "AT&T"),
        ("  Ann\u00a0 Lee ", "Ann Lee"),
        (7.0, "7"),
        (np.int64(7), "7"),
        ("Area: 51", "Area: 51"),
        ('<a href="https://x.example">Ann &amp; Co.</a>', "Ann & Co."),
        ('<a href="#">Ann</a> of <a href="#">the Museum</a>', "Ann of the Museum"),
        ('<a href="#">Ann</a> (<a href="//x.example/wiki/User_talk:Ann">talk</a>)', "Ann"),
        ('Ann<span style="display: none;">Ann</span>', "Ann"),
        ('<div class="fn value">\nAnn</div>', "Ann"),
    ],
)
def test_one_person_is_named_by_the_name_alone(given: object, name: str) -> None:
    assert _names(given) == [name]


@pytest.mark.parametrize(
    "given",
    [None, "", float("nan"), np.float64("nan"), "nan", "None", "<NA>", [], {}, [None], {"name": None},
     "Unknown author", '<bdi>Unknown author<span style="display: none;">Unknown author</span></bdi>'],
)  # fmt: skip
def test_what_is_empty_or_unknown_names_nobody(given: object) -> None:
    assert named_people(given) == ()


@pytest.mark.parametrize(
    "given", [{"id": 7}, '{"id": 7}', '["Ann", "Be', "[{'name'", True, float("inf"), datetime(2020, 1, 1)]
)
def test_a_structure_without_names_is_not_understood(given: object) -> None:
    with pytest.raises(NotUnderstood):
        named_people(given)


@pytest.mark.parametrize("given", ["Ann: 60; Ben: 40", {"Ann": 60, "Ben": "40 %"}, '{"Ann": 60, "Ben": 40}'])
def test_percentages_are_read_beside_names(given: object) -> None:
    assert named_people(given) == (Named("Ann", 60.0), Named("Ben", 40.0))
