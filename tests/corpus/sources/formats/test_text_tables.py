"""CSV and JSON Lines row by row: a row that cannot be trusted is a fault, and the rows after it are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.corpus.sources.formats.text_tables import TextTable
from creditline.errors import InvalidInput

_HEADER = "file,caption,artist\n"


def _rows(path: Path, text: str | bytes) -> list[tuple[int, list[object], str]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [(row.line, list(row.record.values()), row.fault) for row in TextTable.open(path).rows()]


def _whole(path: Path, text: str | bytes) -> list[list[object]]:
    return [values for _, values, fault in _rows(path, text) if not fault]


_GOOD = ["2.png,a dog,Ben", "3.png,an owl,Cid", "4.png,a bee,Dan"]
_VALUES = [row.split(",") for row in _GOOD]


@pytest.mark.parametrize(
    "broken",
    [
        "1.png,a cat, a dog,Ann",
        "1.png,a cat",
        '1.png,"a cat,Ann',
        '1.png,"a "big" cat",Ann',
        '1.png,a cat,"Ann',
        '"1.png,a cat,Ann',
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_broken_row_costs_no_other_row(tmp_path: Path, broken: str, place: int) -> None:
    lines = [*_GOOD[:place], broken, *_GOOD[place:]]
    rows = _rows(tmp_path / "a.csv", _HEADER + "\n".join(lines))
    assert [values for _, values, fault in rows if not fault] == _VALUES
    assert [line for line, _, fault in rows if fault] == [place + 2]


@pytest.mark.parametrize("closing", ['9.png,"an owl",Cid', '9.png,an owl",Cid', '"9.png","an owl","Cid"'])
def test_a_quote_that_another_row_closes_swallows_no_rows(tmp_path: Path, closing: str) -> None:
    rows = _rows(tmp_path / "a.csv", f'{_HEADER}1.png,"a cat,Ann\n' + "\n".join([*_GOOD, closing]))
    assert [values for _, values, fault in rows if not fault][:3] == _VALUES
    assert rows[0][2] == "opens a quote that is not closed; close it, or double a quote inside a text"


def test_texts_of_several_lines_with_quotes_are_whole(tmp_path: Path) -> None:
    rows = _rows(tmp_path / "a.csv", _HEADER + '1.png,"a ""big"" cat,\nat night",Ann\n2.png,6" nail,Ben\n')
    assert rows == [(2, ["1.png", 'a "big" cat,\nat night', "Ann"], ""), (4, ["2.png", '6" nail', "Ben"], "")]


def test_empty_fields_at_the_end_and_empty_lines_do_not_count(tmp_path: Path) -> None:
    text = "\nfile,caption,artist,,\n\n1.png,a cat,Ann,,\n,,\n   \n2.png,a dog,Ben\n"
    assert _whole(tmp_path / "a.csv", text) == [["1.png", "a cat", "Ann"], ["2.png", "a dog", "Ben"]]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_line_ends_of_any_system_are_read(tmp_path: Path, ends: str) -> None:
    assert _whole(tmp_path / "a.csv", ends.join([_HEADER.strip(), *_GOOD]).encode()) == _VALUES


def test_lines_that_are_no_objects_are_faults(tmp_path: Path) -> None:
    rows = _rows(tmp_path / "a.jsonl", '{"a": 1}\n[1]\n\n{"a": 2}\n{"a": "tab\there"}\n{"a"')
    assert [line for line, _, fault in rows if fault] == [2, 6]
    assert [values for _, values, fault in rows if not fault] == [[1], [2], ["tab\there"]]


def test_many_open_quotes_do_not_make_reading_slow(tmp_path: Path) -> None:
    rows = _rows(tmp_path / "a.csv", _HEADER + '1.png,"a cat,Ann\n' * 300 + _GOOD[0])
    assert [bool(fault) for _, _, fault in rows] == [True] * 300 + [False]


def test_a_header_with_an_open_quote_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('file,"caption,artist\n1.png,a cat,Ann\n')
    with pytest.raises(InvalidInput, match=r"the header of .*a\.csv opens a quote that is not closed"):
        TextTable.open(tmp_path / "a.csv")


def test_zero_bytes_and_an_empty_file_are_no_rows(tmp_path: Path) -> None:
    assert _rows(tmp_path / "a.csv", b"") == _rows(tmp_path / "a.jsonl", b"") == []
    assert [fault != "" for _, _, fault in _rows(tmp_path / "b.jsonl", b'{"a": 1}\n\0\0\0')] == [False, True]
