"""A folder of pictures: captions wherever people put them, in whatever encoding their editor chose."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from creditline.corpus.rights import RightsHolder
from creditline.corpus.sources import Found, open_source
from creditline.corpus.sources.formats.caption_table import CaptionTable
from creditline.corpus.sources.formats.folder import FolderSource
from creditline.corpus.sources.layers import TRANSLATIONS
from creditline.corpus.works import Work
from creditline.errors import InvalidInput, NotFound
from tests.corpus.sources.examples import everything, picture, plain, write_folder


def _pictures(directory: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(picture(seed))
    return directory


def _found(directory: Path) -> list[Found]:
    return everything(open_source(directory))


def _works(directory: Path) -> list[Work]:
    found = _found(directory)
    assert [one.broken for one in found] == [""] * len(found)
    return [one.work for one in found if one.work]


def _write_csv(path: Path, *rows: Sequence[str], encoding: str = "utf-8", delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def test_captions_beside_pictures_and_in_a_table_above_them(tmp_path: Path) -> None:
    found = _found(write_folder(tmp_path / "folder"))
    works = {one.work.id: one.work for one in found if one.work}
    assert works["animals/birds/owl-0.png"].caption == "an owl 0"
    assert works["animals/birds/owl-4.png"].caption == "a Möwe"
    fox = works["animals/mammals/fox-2.JPG"]
    assert (fox.caption, fox.contributor, fox.licence, fox.created) == ("a fox 2", "Ann", "CC0", 915_148_800)
    assert fox.folder == "animals"
    pie = works["food/pie-4.webp"]
    assert (pie.caption, pie.contributor, pie.rights_holders) == ("a pie,\nhalf 4", "Ben", ())
    assert pie.thumbnail == picture(4, "WEBP")


def test_translations_after_a_caption_are_no_part_of_it(tmp_path: Path) -> None:
    """Tux Paint's stamps: one caption in English, then 130 lines such as `fr.utf8=Un renard.`"""
    directory = _pictures(tmp_path, "fox.png", "owl.png")
    (directory / "fox.txt").write_bytes(b"A fox.\nfr.utf8=Un renard.\r\nca@valencia.utf8=Una guineu.")
    (directory / "owl.txt").write_text("An owl\nat night")
    fox, owl = _found(directory)
    assert fox.work is not None
    assert owl.work is not None
    assert (fox.work.caption, fox.notes) == ("A fox.", (TRANSLATIONS,))
    assert (owl.work.caption, owl.notes) == ("An owl\nat night", ())


def test_what_is_no_work_is_told_by_its_place(tmp_path: Path) -> None:
    directory = write_folder(tmp_path / "folder")
    broken = [one for one in _found(directory) if one.broken]
    assert [(one.part, one.row) for one in broken] == [("animals/birds#0", 3), ("food#0", 5)]
    assert broken[0].broken.startswith("the picture of work 'animals/birds/owl-3.png' cannot be decoded (")
    assert broken[1].broken == (
        f"{directory}/food/pie-5.webp has no caption (no pie-5.txt, no pie-5.json, no row of"
        " captions.csv or metadata.csv or captions.tsv or metadata.tsv or captions.jsonl or metadata.jsonl);"
        " add one, or leave the picture out"
    )


def test_json_comes_over_text_and_text_over_a_table(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png", "c.png")
    _write_csv(
        tmp_path / "captions.csv", ["file", "caption", "author"], *([f"{n}.png", "table", "T"] for n in "abc")
    )
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_text("text")
    (tmp_path / "b.json").write_text(json.dumps({"caption": "json", "author": None}))
    works = _works(tmp_path)
    assert [work.caption for work in works] == ["text", "json", "table"]
    assert [work.contributor for work in works] == ["T", "T", "T"]


def test_json_may_tell_everything(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    record = {
        "id": "owl-7",
        "title": "Owl",
        "text": "an owl at night",
        "creator": "Ann",
        "licence": "CC BY 4.0",
        "url": "https://museum.example/owl",
        "rights_holders": {"Ann": 50, "The Museum": 50},
        "created": "1923-05-06",
        "tags": ["owl", "night"],
    }
    (tmp_path / "a.json").write_text(json.dumps(record))
    (work,) = _works(tmp_path)
    assert (work.id, work.title, work.caption, work.contributor) == ("owl-7", "Owl", "an owl at night", "Ann")
    assert (work.licence, work.source) == ("CC BY 4.0", "https://museum.example/owl")
    assert work.holders == (RightsHolder("Ann", 50.0), RightsHolder("The Museum", 50.0))
    assert (work.created, work.keywords) == (-1_472_428_800, ("owl", "night"))


def test_hugging_faces_imagefolder_is_read(tmp_path: Path) -> None:
    _pictures(tmp_path, "train/0001.png", "train/0002.png", "test/0001.png")
    for split, rows in (("train", 2), ("test", 1)):
        lines = [
            json.dumps({"file_name": f"{n:04d}.png", "text": f"{split} {n}"}) for n in range(1, rows + 1)
        ]
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(lines))
    assert [work.caption for work in _works(tmp_path)] == ["test 1", "train 1", "train 2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_any_spreadsheet_are_read(tmp_path: Path, encoding: str, delimiter: str) -> None:
    _pictures(tmp_path, "möwe.png", "owl.png")
    rows = [["Filename", "Caption", "Rights_Holders"], ["möwe.png", "eine Möwe", "Jürgen: 40; Zoë: 60"]]
    rows.append(["owl", 'an "owl"\nin two lines', ""])
    _write_csv(tmp_path / "captions.csv", *rows, encoding=encoding, delimiter=delimiter)
    gull, owl = _works(tmp_path)
    assert gull.caption == "eine Möwe"
    assert gull.holders == (RightsHolder("Jürgen", 40.0), RightsHolder("Zoë", 60.0))
    assert owl.caption == 'an "owl"\nin two lines'
    notes = {note for one in _found(tmp_path) for note in one.notes}
    assert notes == (set() if encoding.startswith("utf-8") else {"caption not in UTF-8"})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_text_captions_of_any_editor_are_read(tmp_path: Path, encoding: str) -> None:
    _pictures(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("eine Möwe\n", encoding=encoding)
    (work,) = _works(tmp_path)
    assert work.caption == "eine Möwe"


def test_json_lines_with_a_mark_and_empty_lines(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png")
    text = '{"file_name": "./a.png", "text": "eins"}\n\n{"file_name": "b.png", "text": "zwei"}\n'
    (tmp_path / "metadata.jsonl").write_text(text, encoding="utf-8-sig")
    assert [work.caption for work in _works(tmp_path)] == ["eins", "zwei"]


def test_a_table_that_names_no_files_is_refused_with_its_columns(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    _write_csv(tmp_path / "metadata.csv", ["number", "caption"], ["1", "one"])
    with pytest.raises(
        InvalidInput, match=r"metadata\.csv has none of the columns file_name, .*, only number, caption"
    ):
        _found(tmp_path)


def test_a_row_of_a_table_that_cannot_be_trusted_breaks_its_picture_and_no_other(tmp_path: Path) -> None:
    _pictures(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "captions.csv").write_text(
        "file,caption,artist\n1.png,a cat, a dog,Ann\n2.png,a dog,Ben\n3.png,an owl\n"
    )
    found = _found(tmp_path)
    assert [one.loss for one in found] == ["broken row of a table", "", "broken row of a table"]
    assert found[0].broken == (
        f"{tmp_path}/1.png is left out: line 2 of {tmp_path}/captions.csv has 4 fields and the header 3; put"
        " texts with a delimiter into quotes"
    )
    assert "line 4 of" in found[2].broken
    assert "has 2 fields and the header 3" in found[2].broken


def test_rows_that_no_picture_belongs_to_are_counted_with_their_reasons(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b/c.png")
    lines = ['{"file_name": "a.png", "text": "one"}', '{"file_name": "gone.png", "text": "two"}', '{"file_na']
    lines += ['["a list"]', '{"text": "no name"}', '{"file_name": "b/c", "text": "three"}', "\0\0\0", ""]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines) + '{"file_name": "a.png", "tex')
    found = _found(tmp_path)
    assert [one.work.caption for one in found if one.work] == ["one", "three"]
    told = [(one.part, one.row, one.loss) for one in found if one.broken]
    losses = ["picture file missing", *["broken row of a table"] * 2, "picture file missing"]
    losses += ["broken row of a table"] * 2
    assert told == [("metadata.jsonl", row, loss) for row, loss in enumerate(losses)]
    assert found[2].broken == (
        f"line 2 of {tmp_path}/metadata.jsonl names the picture 'gone.png', which is not there; add it, or"
        " remove the line"
    )
    assert found[4].broken.endswith("is not a JSON object; correct it")


def test_a_picture_named_by_two_rows_has_the_last_ones_caption_and_is_counted(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    _write_csv(tmp_path / "captions.csv", ["file", "caption"], ["a.png", "one"], ["a.png", "two"])
    (found,) = _found(tmp_path)
    assert found.work is not None
    assert found.work.caption == "two"
    assert found.notes == ("picture named twice in a table, the last row is used",)


def test_columns_with_one_name_all_count(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png")
    _write_csv(
        tmp_path / "captions.csv",
        ["file", "caption", "artist", "artist"],
        ["a.png", "one", "Ann", "Ben"],
        ["b.png", "two", "", "Ben"],
    )
    first, second = _works(tmp_path)
    assert [holder.name for holder in first.holders] == ["Ann", "Ben"]
    assert second.contributor == "Ben"
    assert {note for one in _found(tmp_path) for note in one.notes} == {
        "a column name occurs twice in a table"
    }


def test_endings_in_capitals_and_other_endings_of_captions_are_read(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.JPG", "b.PNG", "c.png", "a.b.jpg")
    (tmp_path / "a.TXT").write_text("one")
    (tmp_path / "b.JSON").write_text('{"caption": "two"}')
    (tmp_path / "c.caption").write_text("three")
    (tmp_path / "a.b.txt").write_text("four")
    assert [work.caption for work in _works(tmp_path)] == ["one", "four", "two", "three"]


def test_maps_masks_and_views_of_a_work_are_no_works_and_take_nothing_from_it(tmp_path: Path) -> None:
    _pictures(tmp_path, "cat.depth.png", "cat.jpg", "cat.mask.png", "dog.png")
    (tmp_path / "cat.txt").write_text("a cat")
    (tmp_path / "dog.json").write_text('{"caption": null, "text": ""}')
    found = _found(tmp_path)
    assert [one.work.id for one in found if one.work] == ["cat.jpg"]
    assert [one.loss for one in found] == [
        "map, mask or other view of a work", "", "map, mask or other view of a work", "without a caption",
    ]  # fmt: skip
    assert "it is a map, a mask or a view of cat.jpg" in found[0].broken
    assert "dog.png has an empty caption (dog.json); add one" in found[3].broken


def test_every_file_that_is_lost_is_one_broken_row_with_its_reason(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png", "e.png", "f.png")
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / f"{name}.txt").write_text(f"caption {name}")
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "c.heic").write_bytes(b"II*")
    (tmp_path / "e.svg").write_text("<svg/>")  # The same picture as e.png, as is the next.
    (tmp_path / "e.png.svg").write_text("<svg/>")
    (tmp_path / "f.txt").write_text(" ")
    (tmp_path / "README.txt").write_text("about the pictures")
    found = _found(tmp_path)
    assert [one.work.id for one in found if one.work] == ["b.png", "e.png"]
    losses = ["empty picture", "picture format not read", "picture file missing", "without a caption"]
    assert [one.loss for one in found if one.broken] == losses
    reasons = [one.broken for one in found if one.broken]
    assert reasons[0] == f"{tmp_path}/a.png is empty (0 bytes); store it again, or remove it"
    assert reasons[1].startswith(
        f"{tmp_path}/c.heic is in a format that is not read; convert it to one of .png,"
    )
    assert reasons[2].startswith(f"{tmp_path}/d.txt has no picture beside it")
    assert "f.png has an empty caption (f.txt)" in reasons[3]


def test_captions_that_the_embedder_refuses_are_broken_rows(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_text("x" * 10_000)
    (tmp_path / "b.txt").write_text("x" * 10_001)
    found = _found(tmp_path)
    assert [one.loss for one in found] == ["", "caption too long"]
    assert "has 10,001 characters; at most 10,000 are allowed" in found[1].broken


def test_a_picture_that_img2dataset_reports_as_failed_is_no_work(tmp_path: Path) -> None:
    _pictures(tmp_path, "000000000.jpg")
    record = {"caption": "one", "status": "failed_to_resize", "error_message": "cut off"}
    (tmp_path / "000000000.json").write_text(json.dumps(record))
    (found,) = _found(tmp_path)
    assert (found.loss, "failed_to_resize: cut off" in found.broken) == ("download failed", True)


@pytest.mark.parametrize("depth", [None, 100_000])
def test_broken_json_beside_a_picture_is_one_broken_row(tmp_path: Path, depth: int | None) -> None:
    _pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "a.json").write_text("{" if depth is None else "[" * depth + "]" * depth)
    (tmp_path / "b.txt").write_text("whole")
    found = _found(tmp_path)
    assert found[0].broken.startswith(f"{tmp_path}/a.png or its metadata cannot be read (")
    assert found[1].work is not None


def test_hidden_files_are_no_works(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "._a.png", ".cache/b.png", "__MACOSX/a.png")
    (tmp_path / "a.txt").write_text("one")
    assert [work.id for work in _works(tmp_path)] == ["a.png"]


def test_a_link_that_leads_nowhere_is_a_broken_row(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "nothing")
    source = open_source(tmp_path)
    assert len(source.fingerprint) == 64
    (found,) = source.read(".#0")
    assert "No such file" in found.broken


def test_names_of_files_in_other_encodings_can_be_printed(tmp_path: Path) -> None:
    stem = os.fsencode(tmp_path) + "/Möwe".encode("cp1252")
    Path(os.fsdecode(stem + b".png")).write_bytes(picture(0))
    (found,) = _found(tmp_path)
    assert found.broken.encode()
    Path(os.fsdecode(stem + b".txt")).write_text("eine Möwe")
    (work,) = _works(tmp_path)
    assert (work.id, work.source) == ("M?we.png", "M?we.png")


def test_a_large_directory_is_shared_by_pieces(tmp_path: Path) -> None:
    directory = write_folder(tmp_path / "folder")
    whole = [(one.work, one.broken) for one in _found(directory)]
    source = FolderSource.open(directory, part_pictures=4)
    assert source.parts() == (
        *("animals/birds#0", "animals/birds#1", "animals/mammals#0", "animals/mammals#1"),
        *("food#0", "food#1", "captions.csv"),
    )
    assert [(one.work, one.broken) for one in everything(source)] == whole
    assert [plain(one) for one in source.read("food#1", 1)] == [plain(one) for one in everything(source)[-1:]]
    with pytest.raises(NotFound, match="no part 'food#2'"):
        list(source.read("food#2"))


def test_a_table_is_looked_up_without_being_held(tmp_path: Path) -> None:
    rows = [[f"{number}.png", f"caption {number}" + "x" * 1000] for number in range(5000)]
    _write_csv(tmp_path / "captions.csv", ["file_name", "caption"], *rows, ["17.png", "the later row counts"])
    table = CaptionTable.open(tmp_path / "captions.csv")
    assert (len(table), table.lines) == (5001, {})
    assert table.hashes.nbytes + table.offsets.nbytes == 5001 * 16
    for number in (0, 4999, 123):
        layer = table.layer(f"{number}.png")
        assert layer is not None
        assert layer.record["caption"].startswith(f"caption {number}x")
    later = table.layer("17.png")
    assert later is not None
    assert later.record["caption"] == "the later row counts"
    assert table.layer("5000.png") is None


def test_the_fingerprint_knows_captions_too(tmp_path: Path) -> None:
    directory = write_folder(tmp_path / "folder")
    before = open_source(directory).fingerprint
    (directory / "animals/birds/owl-0.txt").write_text("another caption")
    assert open_source(directory).fingerprint != before


def test_the_mapping_tells_what_each_directory_has(tmp_path: Path) -> None:
    assert open_source(write_folder(tmp_path / "folder")).mapping == {
        "caption": "NAME.txt, text in NAME.json, caption in captions.csv",
        "contributor": "author in NAME.json, artist in captions.csv",
        "licence": "license in NAME.json",
        "created": "created in NAME.json",
        "picture": "*.png, *.JPG, *.webp",
    }
