"""A table that is itself the source: its rows are the works, and its pictures lie beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.corpus.sources import open_source
from creditline.errors import InvalidInput
from tests.corpus.sources.examples import everything, picture, write_table


def test_rows_are_works_with_the_pictures_they_name(tmp_path: Path) -> None:
    source = open_source(write_table(tmp_path / "table"))
    assert (source.kind, source.parts()) == ("table", ("works.csv",))
    found = everything(source)
    assert [one.loss for one in found if one.broken] == ["broken row of a table", "picture file missing"]
    assert found[3].work is not None
    assert (found[3].work.id, found[3].work.contributor) == ("images/3.png", "Ann")
    assert found[3].work.thumbnail == picture(3)
    assert source.mapping["picture"] == "the file that a row names"


def test_addresses_alone_are_works_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "laion.jsonl").write_text('{"url": "https://x.example/1.png", "caption": "an owl"}\n')
    (found,) = everything(open_source(tmp_path / "laion.jsonl"))
    assert found.work is not None
    assert (found.work.id, found.work.source, found.work.thumbnail) == (
        "laion-0",
        "https://x.example/1.png",
        b"",
    )


def test_nothing_outside_the_tables_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(0))
    (tmp_path / "inner").mkdir()
    names = ["../secret.png", str(tmp_path / "secret.png"), "secret\0.png"]
    (tmp_path / "inner/works.csv").write_text(
        "file,caption\n" + "".join(f"{name},an owl\n" for name in names)
    )
    found = everything(open_source(tmp_path / "inner/works.csv"))
    assert [one.loss for one in found] == ["picture file missing"] * 3
    assert "it lies outside" in found[0].broken


def test_lines_that_are_all_broken_are_counted(tmp_path: Path) -> None:
    (tmp_path / "works.jsonl").write_text("garbage\n{\n")
    found = everything(open_source(tmp_path / "works.jsonl"))
    assert [one.loss for one in found] == ["broken row of a table"] * 2


def test_a_table_without_captions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "works.csv").write_text("file,number\na.png,1\n")
    with pytest.raises(InvalidInput, match=r"has none of the columns caption, .*, only file, number"):
        open_source(tmp_path / "works.csv")
