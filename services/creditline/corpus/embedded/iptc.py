"""IPTC data sets (IIM), as editors still write them beside XMP."""

from __future__ import annotations

from collections.abc import Iterator

from creditline.corpus.embedded.containers.blocks import MOST_BLOCKS
from creditline.corpus.embedded.picture_metadata import PictureMetadata, licences, people, seconds
from creditline.corpus.texts import decode_text

_MARK = 0x1C
_CHARACTER_SET, _BY_LINE, _COPYRIGHT, _CREATED = (1, 90), (2, 80), (2, 116), (2, 55)
_UTF_8 = b"\x1b%G"
# A length with the highest bit set is the number of bytes in which the length follows.
_EXTENDED = 0x8000


def iptc_metadata(data: bytes) -> PictureMetadata:
    """By-lines, copyright notice and date of the data sets."""
    found: dict[tuple[int, int], list[bytes]] = {}
    for number, value in _data_sets(data):
        found.setdefault(number, []).append(value)
    is_utf_8 = _UTF_8 in found.get(_CHARACTER_SET, ())
    texts = {
        number: [value.decode("utf-8", "replace") if is_utf_8 else decode_text(value)[0] for value in values]
        for number, values in found.items()
    }
    return PictureMetadata(
        names=people("IPTC By-line", texts.get(_BY_LINE, ())),
        licences=licences("IPTC CopyrightNotice", texts.get(_COPYRIGHT, ())),
        created=seconds(next(iter(texts.get(_CREATED, ())), "")),
    )


def _data_sets(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Number and value of each data set, up to the first that is not one."""
    position = 0
    for _ in range(MOST_BLOCKS):
        head = data[position : position + 5]
        if len(head) < 5 or head[0] != _MARK:
            return
        length, start = int.from_bytes(head[3:5], "big"), position + 5
        if length & _EXTENDED:
            count = length & ~_EXTENDED
            length, start = int.from_bytes(data[start : start + min(count, 8)], "big"), start + count
        yield (head[1], head[2]), data[start : start + length]
        position = start + length
