"""Tables of `exiftool -j` and `exiftool -csv`: embedded data that this program has read already."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from creditline.corpus.consent.plus import data_mining
from creditline.corpus.consent.preferences import reservation
from creditline.corpus.embedded.picture_metadata import PictureMetadata, licences, people, seconds
from creditline.corpus.texts import decode_text

TABLE_NAMES = ("exiftool.json", "exiftool.csv", "exif.json", "exif.csv")
"""Names of the files that are read as tables of exiftool."""
_FILE = "sourcefile"
# Tags with the places that they stand for; grouped output (`-G`) puts the group before a colon.
_NAMES = {
    "creator": "exiftool dc:creator",
    "by-line": "exiftool IPTC By-line",
    "artist": "exiftool EXIF Artist",
    "xpauthor": "exiftool EXIF XPAuthor",
    "imagecreatorname": "exiftool plus:ImageCreator",
    "attributionname": "exiftool cc:attributionName",
    "author": "exiftool PNG Author",
}
_LICENCES = ("webstatement", "license", "usageterms", "rights", "copyrightnotice", "copyright")
_DATES = ("datecreated", "datetimeoriginal", "createdate")
_KEPT = frozenset({*_NAMES, *_LICENCES, *_DATES, "datamining", "otherconstraints", "reservation", "policy"})


def exiftool_metadata(record: Any) -> PictureMetadata:
    """Names, licences, date and statements of one picture's row."""
    if not isinstance(record, Mapping):
        return PictureMetadata()
    tags = _tags(record)
    statements = [
        data_mining("exiftool plus:DataMining", value, _first(tags, "otherconstraints"))
        for value in tags.get("datamining", ())
    ]
    for value in tags.get("reservation", ()):
        reserved = reservation("exiftool tdm:reservation", value, _first(tags, "policy"))
        statements += [reserved] if reserved else []
    return PictureMetadata(
        names=tuple(one for tag, place in _NAMES.items() for one in people(place, tags.get(tag, ()))),
        licences=tuple(one for tag in _LICENCES for one in licences(f"exiftool {tag}", tags.get(tag, ()))),
        statements=tuple(statements),
        created=seconds(next(filter(None, (_first(tags, tag) for tag in _DATES)), "")),
    )


def row_of(table: Path, picture: PurePosixPath) -> Mapping[str, Any] | None:
    """The row about a picture; None if the table has none, or is no table of exiftool.

    Args:
        table: The file.
        picture: Path of the picture relative to the table's directory.
    """
    state = table.stat()
    return _rows(table, state.st_size, state.st_mtime_ns).get(str(picture))


@lru_cache(maxsize=16)
def _rows(table: Path, size: int, changed: int) -> dict[str, Mapping[str, Any]]:
    """Rows by path with the tags that are used, cached until the file's size or time changes."""
    text = decode_text(table.read_bytes())[0]
    if table.suffix == ".csv":
        records: Any = list(csv.DictReader(text.splitlines()))
    else:
        try:
            records = json.loads(text)
        except (ValueError, RecursionError):
            return {}
    rows: dict[str, Mapping[str, Any]] = {}
    for record in records if isinstance(records, list) else ():
        if not isinstance(record, Mapping):
            continue
        path = next((value for name, value in record.items() if str(name).lower() == _FILE), None)
        if isinstance(path, str):
            rows[str(PurePosixPath(path))] = {k: v for k, v in record.items() if _tag(k) in _KEPT}
    return rows


def _tags(record: Mapping[Any, Any]) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for name, value in record.items():
        entries = value if isinstance(value, list) else [value]
        texts = [
            str(entry) for entry in entries if entry not in (None, "") and not isinstance(entry, Mapping)
        ]
        tags.setdefault(_tag(name), []).extend(texts)
    return tags


def _tag(name: Any) -> str:
    return str(name).rpartition(":")[2].strip().lower()


def _first(tags: Mapping[str, list[str]], tag: str) -> str:
    return next(iter(tags.get(tag, ())), "")
