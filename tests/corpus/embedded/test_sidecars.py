"""Files beside pictures: XMP, SVG originals, and tables of exiftool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from creditline.corpus.sources import open_source
from creditline.corpus.works import Work
from tests.corpus.embedded.written_pictures import picture, sequence, xmp

_SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><rdf:RDF>
 <cc:Work rdf:about=""><dc:creator><cc:Agent><dc:title>Ann</dc:title></cc:Agent></dc:creator>
 <cc:license rdf:resource="http://web.resource.org/cc/PublicDomain"/></cc:Work></rdf:RDF></metadata></svg>"""
_PACKET = xmp(sequence("dc:creator", "Ann"), plus_DataMining="DMI-PROHIBITED-AIMLTRAINING")
_EXIFTOOL = {
    "SourceFile": "./deep/a.png",
    "XMP:Creator": ["Ann", "Ben"],
    "EXIF:Artist": "Cid",
    "XMP:DataMining": "Prohibited for AI/ML training",
    "XMP:WebStatement": "https://x.org/l",
    "EXIF:DateTimeOriginal": "2021:02:03 04:05:06",
}


def _work(folder: Path, files: dict[str, bytes]) -> Work:
    """The one work of a folder with a picture `deep/a.png` and these files."""
    for name, content in {"deep/a.png": picture("PNG"), "deep/a.txt": b"a barn", **files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    source = open_source(folder)
    (found,) = [one for part in source.parts() for one in source.read(part)]
    assert found.work is not None, found.broken
    return found.work


@pytest.mark.parametrize("name", ["deep/a.xmp", "deep/a.png.xmp"])
def test_an_xmp_file_beside_a_picture_describes_it(tmp_path: Path, name: str) -> None:
    work = _work(tmp_path, {name: _PACKET})
    assert work.contributor == "Ann"
    assert [one.place for one in work.credits] == ["sidecar XMP dc:creator"]
    assert work.consent.by_use["training"] == "prohibited"


def test_a_sidecar_that_cannot_be_read_is_no_silence(tmp_path: Path) -> None:
    assert _work(tmp_path, {"deep/a.xmp": _PACKET[:-80]}).consent.by_use["mining"] == "unreadable"


def test_an_svg_original_names_creator_and_licence(tmp_path: Path) -> None:
    work = _work(tmp_path, {"deep/a.svg": _SVG})
    assert (work.contributor, work.licence) == ("Ann", "http://web.resource.org/cc/PublicDomain")


def _as_json(record: dict[str, object]) -> bytes:
    return json.dumps([record, {"SourceFile": "deep/other.png", "Artist": "Zoe"}]).encode()


def _as_csv(record: dict[str, object]) -> bytes:
    cells = [", ".join(value) if isinstance(value, list) else str(value) for value in record.values()]
    return (",".join(record) + "\n" + ",".join(f'"{cell}"' for cell in cells) + "\n").encode()


@pytest.mark.parametrize(
    ("name", "content", "people"),
    [
        ("exiftool.json", _as_json(_EXIFTOOL), ("Ann", "Ben")),
        ("deep/exif.json", _as_json(_EXIFTOOL | {"SourceFile": "a.png"}), ("Ann", "Ben")),
        # exiftool joins lists with a comma, which may as well be part of a name.
        ("exiftool.csv", _as_csv(_EXIFTOOL), ("Ann, Ben",)),
    ],
)
def test_a_table_of_exiftool_is_read(
    tmp_path: Path, name: str, content: bytes, people: tuple[str, ...]
) -> None:
    work = _work(tmp_path, {name: content})
    assert tuple(one.name for one in work.holders) == people
    assert "Cid" in {one.name for one in work.credits}
    assert work.licence == "https://x.org/l"
    assert work.consent.by_use["generative_training"] == "prohibited"
    assert work.created == 1612325106


def test_what_the_caption_table_says_comes_first(tmp_path: Path) -> None:
    work = _work(tmp_path, {"deep/a.xmp": _PACKET, "captions.csv": b"file,author\ndeep/a.png,Eve\n"})
    assert work.contributor == "Eve"
    assert {(one.name, one.place) for one in work.credits} == {
        ("Eve", "table"),
        ("Ann", "sidecar XMP dc:creator"),
    }
    assert work.consent.by_use["training"] == "prohibited"
