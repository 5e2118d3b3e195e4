"""EXIF data: artist, copyright and date, from the picture or from a table's column `exif`."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from creditline.corpus.embedded.picture_metadata import (
    NO_METADATA,
    PictureMetadata,
    licences,
    people,
    seconds,
)
from creditline.corpus.embedded.tiff_tags import byte_tags
from creditline.corpus.texts import decode_text

_ARTIST, _COPYRIGHT, _XP_AUTHOR, _DATE_TIME_ORIGINAL = 0x13B, 0x8298, 0x9C9D, 0x9003
_TAGS = frozenset((_ARTIST, _COPYRIGHT, _XP_AUTHOR, _DATE_TIME_ORIGINAL))


def exif_metadata(data: bytes) -> PictureMetadata:
    """Artists, copyright notice and date of EXIF data; empty where the data cannot be parsed.

    EXIF holds no statement about the use of a picture, so damage to it hides none.
    """
    tags = byte_tags(data, _TAGS)
    return _metadata(
        artist=_decoded(tags.get(_ARTIST)),
        author=_wide(tags.get(_XP_AUTHOR)),
        copyright_notice=_decoded(tags.get(_COPYRIGHT)),
        created=_decoded(tags.get(_DATE_TIME_ORIGINAL)),
    )


def exif_column_metadata(value: Any) -> PictureMetadata:
    """The metadata of a table's column `exif`: names and values, or their JSON.

    img2dataset writes the JSON of `{"Image Artist": "Ann", …}`, other programs `{"Artist": "Ann"}`, an object
    by tag numbers, or groups of either.
    """
    if isinstance(value, bytes):
        value = decode_text(value)[0]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return NO_METADATA
    if not isinstance(value, Mapping):
        return NO_METADATA
    tags = {_tag(name): entry for name, entry in _flat(value)}
    return _metadata(
        artist=_plain(tags.get("artist", tags.get("315"))),
        author=_wide(tags.get("xpauthor", tags.get("40093"))),
        copyright_notice=_plain(tags.get("copyright", tags.get("33432"))),
        created=_plain(tags.get("datetimeoriginal", tags.get("36867"))),
    )


def _metadata(*, artist: str, author: str, copyright_notice: str, created: str) -> PictureMetadata:
    names = people("EXIF Artist", [artist]), people("EXIF XPAuthor", [author])
    return PictureMetadata(
        names=names[0] + names[1],
        # The notices of photographer and editor are separated by a zero byte.
        licences=licences("EXIF Copyright", copyright_notice.split("\0")),
        created=seconds(created),
    )


def _flat(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    inner = [pair for entry in value.values() if isinstance(entry, Mapping) for pair in entry.items()]
    return [*value.items(), *inner]


def _tag(name: Any) -> str:
    """The name of a tag without its group: `Image Artist`, `EXIF:Artist` and `Artist` are one."""
    return re.split(r"[ :.]", str(name).strip())[-1].lower()


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(_plain, value))
    return "" if value is None or isinstance(value, Mapping) else _decoded(value)


def _decoded(value: Any) -> str:
    """The text of a value, without the zero bytes that end it."""
    if isinstance(value, bytes):
        return decode_text(value.rstrip(b"\0"))[0]
    return "" if value is None else str(value)


def _wide(value: Any) -> str:
    """The text of one of Windows' tags: UTF-16 in bytes, in a list of numbers, or in such a list's text."""
    if isinstance(value, str) and value.strip().startswith("["):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            value = ast.literal_eval(value.strip())
    if isinstance(value, list | tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        value = bytes(value)
    if isinstance(value, bytes):
        return value.decode("utf-16-le", "replace").rstrip("\0")
    return value if isinstance(value, str) else ""
