"""Metadata blocks of JPEG files: the segments before the first scan, extended XMP put together."""

from __future__ import annotations

import struct

from creditline.corpus.embedded.containers.blocks import MOST_BLOCK_BYTES, MOST_BLOCKS, Blocks

SIGNATURE = b"\xff\xd8"
_APP1, _APP11, _APP13 = 0xE1, 0xEB, 0xED
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP, _RESOURCE, _IPTC_RESOURCE = b"Photoshop 3.0\0", b"8BIM", 0x0404
# Digest of the whole packet (32 bytes), its length and this portion's offset.
_EXTENDED_HEAD = struct.Struct(">32sII")


def jpeg_blocks(data: bytes) -> Blocks:
    """The metadata blocks of a JPEG file; of a file that is cut off, those before the cut."""
    blocks, photoshop = Blocks(), bytearray()
    portions: dict[bytes, dict[int, bytes]] = {}
    position = 2
    for _ in range(MOST_BLOCKS):
        marker, content, position = _segment(data, position)
        if marker in (_START_OF_SCAN, _END_OF_IMAGE, -1):
            break
        if marker == _APP1 and content.startswith(_EXIF):
            blocks.exif = blocks.exif or content
        elif marker == _APP1 and content.startswith(_XMP):
            blocks.add_xmp(content[len(_XMP) :])
        elif marker == _APP1 and content.startswith(_EXTENDED):
            _keep_portion(portions, content[len(_EXTENDED) :])
        elif marker == _APP13 and content.startswith(_PHOTOSHOP):
            photoshop += content[len(_PHOTOSHOP) :]
        elif marker == _APP11 and content[:2] == b"JP":
            blocks.has_c2pa = True
    _add_extended(blocks, portions)
    blocks.iptc = iptc_resource(bytes(photoshop))
    return blocks


def _segment(data: bytes, position: int) -> tuple[int, bytes, int]:
    """Marker and content of the segment at a position, and the next position; marker -1 at the end."""
    while data[position : position + 2] == b"\xff\xff":  # Fill bytes.
        position += 1
    head = data[position : position + 4]
    if len(head) < 2 or head[0] != 0xFF:
        return -1, b"", position
    if head[1] in _WITHOUT_LENGTH:
        return head[1], b"", position + 2
    length = int.from_bytes(head[2:4], "big")
    if len(head) < 4 or length < 2:
        return -1, b"", position
    return head[1], data[position + 4 : position + 2 + length], position + 2 + length


def _keep_portion(portions: dict[bytes, dict[int, bytes]], content: bytes) -> None:
    if len(content) >= _EXTENDED_HEAD.size:
        digest, _, offset = _EXTENDED_HEAD.unpack_from(content)
        portions.setdefault(digest, {})[offset] = content[_EXTENDED_HEAD.size :]


def _add_extended(blocks: Blocks, portions: dict[bytes, dict[int, bytes]]) -> None:
    """Add the extended packets that the main packet names; one that lacks a portion is a fault."""
    named = b"".join(blocks.xmp)
    for digest, by_offset in portions.items():
        if digest not in named:
            continue
        packet = b""
        for offset in sorted(by_offset):
            if offset != len(packet) or len(packet) > MOST_BLOCK_BYTES:
                blocks.faults.append(("XMP", "an extended packet of which a portion is missing"))
                break
            packet += by_offset[offset]
        else:
            blocks.add_xmp(packet)


def iptc_resource(photoshop: bytes) -> bytes:
    """The IPTC data in a sequence of Photoshop's image resources; empty if there are none."""
    position = 0
    while photoshop[position : position + 4] == _RESOURCE:
        kind = int.from_bytes(photoshop[position + 4 : position + 6], "big")
        name_length = photoshop[position + 6] if position + 6 < len(photoshop) else 0
        start = position + 7 + name_length + (name_length + 1) % 2
        size = int.from_bytes(photoshop[start : start + 4], "big")
        if kind == _IPTC_RESOURCE:
            return photoshop[start + 4 : start + 4 + size]
        position = start + 4 + size + size % 2
    return b""
