"""Metadata blocks of WebP, GIF, TIFF and AVIF files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator

from PIL import Image

from creditline.corpus.embedded.containers.blocks import MOST_BLOCKS, Blocks
from creditline.corpus.embedded.containers.jpeg import iptc_resource

_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG, _C2PA_TAG = 700, 33723, 34377, 52545
# Tags that may hold statements about the use of the picture.
_STATING_TAGS = {_XMP_TAG: "XMP", _C2PA_TAG: "C2PA"}
_C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_XMP_APPLICATION, _C2PA_APPLICATION = b"XMP DataXMP", b"C2PA_GIF"
# XMP in a GIF is not cut into blocks; a trailer after it, which begins so, leads every reader to the end.
_XMP_TRAILER = b"\x01\xff\xfe\xfd"


def webp_blocks(data: bytes) -> Blocks:
    """The metadata chunks of a WebP file; those of a cut file are the ones before the cut."""
    blocks, position = Blocks(), 12
    for _ in range(MOST_BLOCKS):
        kind, length = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        if len(kind) < 4:
            break
        if kind == b"XMP ":
            blocks.add_xmp(data[position + 8 : position + 8 + length])
        elif kind == b"EXIF":
            blocks.exif = data[position + 8 : position + 8 + length]
        elif kind == b"C2PA":
            blocks.has_c2pa = True
        position += 8 + length + length % 2
    return blocks


def gif_blocks(data: bytes) -> Blocks:
    """XMP and manifest in the application extensions of a GIF file."""
    blocks = Blocks()
    for application, content in _applications(data):
        if application.startswith(_XMP_APPLICATION):
            blocks.add_xmp(_gif_xmp(content))
        elif application.startswith(_C2PA_APPLICATION):
            blocks.has_c2pa = True
    return blocks


def _applications(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each application extension."""
    position = 13 + _colour_table_bytes(data[10:11])
    for _ in range(MOST_BLOCKS):
        introducer = data[position : position + 2]
        if introducer[:1] == b"\x2c":
            position += 10 + _colour_table_bytes(data[position + 9 : position + 10]) + 1
            position = _after_sub_blocks(data, position)
        elif introducer == b"\x21\xff":
            application, start = data[position + 3 : position + 14], position + 14
            position = _after_sub_blocks(data, start)
            yield application, data[start:position]
        elif introducer[:1] == b"\x21":
            position = _after_sub_blocks(data, position + 2)
        else:
            return


def _gif_xmp(content: bytes) -> bytes:
    """The packet; writers that do not know the trailer cut it into blocks like any other content."""
    packet, trailer, _ = content.rpartition(_XMP_TRAILER)
    if trailer:
        return packet
    position, joined = 0, bytearray()
    while position < len(content) and content[position]:
        joined += content[position + 1 : position + 1 + content[position]]
        position += 1 + content[position]
    return bytes(joined)


def _after_sub_blocks(data: bytes, position: int) -> int:
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1


def _colour_table_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def tiff_blocks(data: bytes) -> Blocks:
    """The metadata tags of the first picture of a TIFF file; the whole file stands for its EXIF data."""
    blocks = Blocks(exif=data)
    with warnings.catch_warnings(record=True) as skipped:
        warnings.simplefilter("always")
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as opened:
            tags = opened.tag_v2  # type: ignore[attr-defined]
            blocks.add_xmp(_tag_bytes(tags.get(_XMP_TAG)))
            # Writers declare this tag as numbers, of which Pillow keeps only the first.
            raw = tags._tagdata
            blocks.iptc = raw.get(_IPTC_TAG, b"") or iptc_resource(raw.get(_PHOTOSHOP_TAG, b""))
            blocks.has_c2pa = _C2PA_TAG in tags
    # Pillow leaves out tags whose content is not in the file, and only warns of them.
    lost = [place for tag, place in _STATING_TAGS.items() if any(_skips(one, tag) for one in skipped)]
    blocks.faults.extend((place, "a tag whose content is not in the file") for place in lost)
    return blocks


def _skips(warning: warnings.WarningMessage, tag: int) -> bool:
    return str(warning.message).endswith(f"Skipping tag {tag}")


def _tag_bytes(value: object) -> bytes:
    """The bytes of a tag, which a writer may have declared as bytes, as small numbers or as text."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) else b""


def avif_blocks(data: bytes) -> Blocks:
    """The metadata items of an AVIF file, as Pillow's decoder hands them over."""
    blocks = Blocks(has_c2pa=_has_c2pa_box(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=("AVIF",)) as opened:
            blocks.exif = opened.info.get("exif", b"")
            blocks.add_xmp(opened.info.get("xmp", b""))
    return blocks


def _has_c2pa_box(data: bytes) -> bool:
    position = 0
    for _ in range(MOST_BLOCKS):
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if kind == b"uuid" and data[position + 8 : position + 24] == _C2PA_BOX:
            return True
        if size < 8 or len(kind) < 4:
            return False
        position += size
    return False
