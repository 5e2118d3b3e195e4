"""Identity of contributors: names, ids, and what makes two of them one person."""

from __future__ import annotations

import pytest

from creditline.corpus.identity import NO_BEARERS, Bearers, People, key_of_id, key_of_name, person_keys

_ANN, _OTHER_ANN = "0000-0002-1825-0097", "account:77"
_CORPUS = Bearers(
    [
        ("Ann Smith", _ANN),
        ("Ann Smith", _OTHER_ANN),
        ("A. Smith", _ANN),
        ("ANN SMITH", ""),
        ("Ben", "account:5"),
        ("ben", ""),
        ("unknown", "account:5"),
    ]
)


@pytest.mark.parametrize(
    "written",
    [
        "0000-0002-1825-0097",
        "0000000218250097",
        "0000 0002 1825 0097",
        "https://orcid.org/0000-0002-1825-0097",
        "ORCID: 0000-0002-1825-0097",
        "https://isni.org/isni/0000000218250097",
        "ISNI 0000 0002 1825 0097",
        "\u200b0000-0002-1825-0097 ",
    ],
)
def test_a_registered_id_is_one_in_every_usual_form(written: str) -> None:
    assert key_of_id(written) == key_of_id(_ANN)


@pytest.mark.parametrize(
    "other", ["0000-0002-1825-0098", "0000-0002-1825", "user/Ann", "user/ann", "12345678"]
)
def test_other_ids_are_other_people(other: str) -> None:
    assert len({key_of_id(other), key_of_id(_ANN), key_of_id("USER/ann")}) == 3


def test_an_id_is_stronger_than_a_name() -> None:
    people = People(_CORPUS)
    assert people.person(key_of_id(_ANN)) != people.person(key_of_id(_OTHER_ANN))
    assert people.person(key_of_id(_ANN)) == people.person(key_of_name("a. smith"))


def test_a_name_without_an_id_belongs_to_the_only_id_that_bears_it() -> None:
    people = People(_CORPUS)
    assert people.person(key_of_name("BEN")) == people.person(key_of_id("account:5"))
    namesakes = {people.person(key) for key in map(key_of_id, (_ANN, _OTHER_ANN))}
    assert people.person(key_of_name("Ann Smith")) not in namesakes
    assert people.person(key_of_name("unknown")) == key_of_name("unknown")


def test_a_withdrawal_by_name_covers_every_namesake_and_one_by_id_only_its_person() -> None:
    people = People(_CORPUS)
    by_name = people.withdrawn_with(key_of_name("ann smith"))
    assert by_name == {*map(key_of_id, (_ANN, _OTHER_ANN)), *map(key_of_name, ("Ann Smith", "A. Smith"))}
    assert people.withdrawn_with(key_of_id(_ANN)) == {key_of_id(_ANN), key_of_name("A. Smith")}


def test_merged_people_are_one_and_shown_under_the_first_name() -> None:
    merges = [(key_of_name("Cleo"), key_of_name("C. Doe")), (key_of_name("C. Doe"), key_of_name("cd"))]
    people = People(Bearers([("C. Doe", ""), ("CD", ""), ("Cléo", "")]), merges)
    assert len({people.person(key_of_name(name)) for name in ("Cleo", "c. doe", "Cd")}) == 1
    assert people.same(key_of_name("CD")) == set(map(key_of_name, ("Cleo", "C. Doe", "cd")))
    written = {key_of_name("Cleo"): "Cleo"}
    assert People(NO_BEARERS, merges, written).shown(key_of_name("cd"), "cd") == "Cleo"
    assert People(Bearers([("Cleo", ""), ("C. Doe", "")]), merges).shown(key_of_name("cd")) == "Cleo"
    assert people.person(key_of_name("Cléo")) == key_of_name("Cléo")


def test_merging_in_a_circle_changes_nothing() -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("b", "a"), ("a", "a")]
    people = People(merges=[(key_of_name(first), key_of_name(second)) for first, second in pairs])
    assert {people.person(key_of_name(name)) for name in "abc"} == {key_of_name("a")}


def test_a_person_is_shown_as_written_first() -> None:
    people = People(Bearers([("Ann  Smith\u200b", ""), ("ANN SMITH", "")]))
    assert people.shown(key_of_name("ann smith"), "ann smith") == "Ann Smith"
    assert people.shown(key_of_name("Zoe"), "Zoe\u00a0 ") == "Zoe"


def test_a_name_cannot_pose_as_an_id() -> None:
    assert not set(person_keys(["id:account:5", f"id:{_ANN}"])) & {key_of_id("account:5"), key_of_id(_ANN)}
