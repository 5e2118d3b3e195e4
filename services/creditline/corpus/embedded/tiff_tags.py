"""Byte and text tags of a TIFF structure, which EXIF data are: a few tags, without decoding all others.

Pillow decodes every tag of a directory, which takes as long as all other embedded data of a picture together.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

_MARK = b"Exif\0\0"
_EXIF_DIRECTORY = 0x8769
_BYTE, _ASCII, _UNDEFINED = 1, 2, 7
_LONG = 4
_MOST_ENTRIES = 1000


def byte_tags(data: bytes, wanted: Collection[int]) -> dict[int, bytes]:
    """The contents of tags of the first directory and of its EXIF directory.

    Args:
        data: A TIFF structure, without or with the mark `Exif` before it.
        wanted: Numbers of tags of bytes or text.

    Returns:
        Contents by number; a tag that is absent, of another type, or not within the data is left out.
    """
    data = data[len(_MARK) :] if data.startswith(_MARK) else data
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return {}
    found, inner = _directory(data, order, struct.unpack_from(f"{order}I", data, 4)[0], wanted)
    return {**_directory(data, order, inner, wanted)[0], **found} if inner else found


def _directory(data: bytes, order: str, start: int, wanted: Collection[int]) -> tuple[dict[int, bytes], int]:
    """Contents of the wanted tags of a directory, and the offset of its EXIF directory; 0 without one."""
    found: dict[int, bytes] = {}
    inner = 0
    entry, end = struct.Struct(f"{order}HHI4s"), len(data)
    count = struct.unpack_from(f"{order}H", data, start)[0] if start + 2 <= end else 0
    for position in range(start + 2, start + 2 + min(count, _MOST_ENTRIES) * entry.size, entry.size):
        if position + entry.size > end:
            break
        tag, kind, length, value = entry.unpack_from(data, position)
        if tag == _EXIF_DIRECTORY and kind == _LONG:
            inner = struct.unpack(f"{order}I", value)[0]
        if tag not in wanted or kind not in (_BYTE, _ASCII, _UNDEFINED):
            continue
        offset = struct.unpack(f"{order}I", value)[0]
        if length <= len(value):
            found[tag] = value[:length]
        elif offset + length <= end:
            found[tag] = data[offset : offset + length]
    return found, inner
