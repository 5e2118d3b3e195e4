"""Names of contributors: what is shown, and which spellings are one name."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.corpus.names import VISIBLE, display_name, name_key
from tests.corpus.look_alike_table import script, table_text
from tests.corpus.spellings import DISTINCT, ONE_NAME


@pytest.mark.parametrize("spellings", ONE_NAME, ids=lambda spellings: ascii(spellings[0]))
def test_spellings_that_no_reader_can_tell_apart_have_one_key(spellings: tuple[str, ...]) -> None:
    assert {name_key(spelling) for spelling in spellings} == {name_key(spellings[0])}


@pytest.mark.parametrize("spellings", ONE_NAME, ids=lambda spellings: ascii(spellings[0]))
def test_letter_case_never_separates_two_spellings(spellings: tuple[str, ...]) -> None:
    cases = [change(name) for name in spellings[:1] for change in (str.upper, str.lower, str.title)]
    assert {name_key(name) for name in cases} == {name_key(spellings[0])}


@pytest.mark.parametrize(("first", "second"), DISTINCT)
def test_names_that_a_reader_can_tell_apart_have_different_keys(first: str, second: str) -> None:
    assert name_key(first) != name_key(second)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("  Ann \t Smith\n", "Ann Smith"),
        ("Ann\u00a0\u2003Smith", "Ann Smith"),
        ("A\u200bn\u00adn\u2060 \ufeffSm\u200dith\u202c", "Ann Smith"),
        ("\u202eAnn Smith\u202c\x00\x07", "Ann Smith"),
        ("Jose\u0301", "José"),
        ("e\u200b\u0301", "é"),
        ("김\u3164철수", "김 철수"),
        ("ANN  smith", "ANN smith"),
        ("葛\U000e0100城", "葛城"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\U0001f469\u200d\U0001f3a8", "\U0001f469\u200d\U0001f3a8"),
        ("\u202b\u05d3\u05d5\u05d3\u202c", "\u05d3\u05d5\u05d3"),
        ("\u200b\u00a0\u00ad \u2060", ""),
        ("", ""),
    ],
)
def test_a_name_is_shown_as_written_without_what_nobody_sees(written: str, shown: str) -> None:
    assert display_name(written) == shown
    assert display_name(shown) == shown


def test_only_a_name_without_any_visible_character_has_an_empty_key() -> None:
    assert name_key("\u200b \u00a0") == ""
    assert all(name_key(mark) for mark in ("'", "\u0640", "\u0301", "´", "-", "\U0001f3a8"))


def test_the_key_of_a_key_is_the_key() -> None:
    names = [name for spellings in ONE_NAME for name in spellings]
    assert [name_key(name_key(name)) for name in names] == [name_key(name) for name in names]


def test_the_table_is_built_from_lines_in_the_form_of_unicode() -> None:
    lines = (
        "# Version: 9.9.9\n0410 ;\t0041 ;\tMA\t# А → A\n0406 ;\t006C ;\tMA\n0399 ;\t006C ;\tMA\n"
        "0030 ;\t004F ;\tMA\n006D ;\t0072 006E ;\tMA\n03BD ;\t0076 ;\tMA\n039D ;\t004E ;\tMA\n"
    )
    rows = [tuple(line.split()[:3]) for line in table_text(lines).splitlines() if not line.startswith("#")]
    assert {("written", "0410", "0041"), ("whole", "0430", "0061")} <= set(rows)
    # Capital I, not the small L that Unicode has as its prototype; neither digits nor pairs of letters.
    assert {("written", "0406", "0049"), ("written", "0399", "0049")} <= set(rows)
    assert not {row[1] for row in rows} & {"0030", "006D"}
    # The capital decides what a Greek word is compared by; the small letter counts in a Latin word only.
    assert {("written", "03BD", "0076"), ("whole", "03BD", "006E")} <= set(rows)
    assert ("whole", "03BD", "0076") not in rows


def test_no_two_letters_of_one_script_have_one_key() -> None:
    scripts = (
        "GREEK",
        "CYRILLIC",
        "ARMENIAN",
        "HEBREW",
        "HIRAGANA",
        "KATAKANA",
        "DEVANAGARI",
        "THAI",
        "GEORGIAN",
    )
    letters = [
        chr(code) for code in range(0x370, 0x3100) if unicodedata.normalize("NFKD", chr(code)) == chr(code)
    ]
    small = [char for char in letters if char.isalpha() and char.casefold() == char]
    for name in scripts:
        own = [char for char in small if script(char) == name]
        assert len({name_key(char) for char in own}) == len(own) > 10


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_the_pattern_of_contracts_finds_a_character_wherever_something_can_be_seen(text: str) -> None:
    assert bool(re.search(VISIBLE, text)) == bool(display_name(text))


def test_the_pattern_of_contracts_agrees_about_every_single_character() -> None:
    characters = (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    assert [each for each in characters if bool(re.search(VISIBLE, each)) != bool(display_name(each))] == []
