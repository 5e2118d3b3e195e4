"""Metadata blocks of PNG files: texts, XMP, EXIF and the manifest's chunk, before and after the pixels."""

from __future__ import annotations

import zlib

from creditline.corpus.embedded.containers.blocks import MOST_BLOCK_BYTES, MOST_BLOCKS, Blocks
from creditline.corpus.embedded.containers.jpeg import iptc_resource

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP_KEYWORDS = ("XML:com.adobe.xmp", "Raw profile type xmp")
_IPTC_KEYWORDS = ("Raw profile type iptc", "Raw profile type 8bim")
_EXIF_KEYWORDS = ("Raw profile type exif", "Raw profile type APP1")
_MOST_TEXTS = 200


class _TooLarge(ValueError):
    """A compressed text is too large or damaged."""


def png_blocks(data: bytes) -> Blocks:
    """The metadata blocks of a PNG file; of a file that is cut off, those before the cut."""
    blocks, position = Blocks(), len(SIGNATURE)
    for _ in range(MOST_BLOCKS):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if len(kind) < 4 or kind == b"IEND":
            break
        if kind in (b"tEXt", b"zTXt", b"iTXt") and len(blocks.texts) < _MOST_TEXTS:
            _add_text(blocks, kind, data[position + 8 : position + 8 + length])
        elif kind == b"eXIf":
            blocks.exif = data[position + 8 : position + 8 + length]
        elif kind == b"caBX":
            blocks.has_c2pa = True
        position += 12 + length
    return blocks


def _add_text(blocks: Blocks, kind: bytes, content: bytes) -> None:
    keyword, _, rest = content.partition(b"\0")
    name = keyword.decode("latin-1")
    try:
        raw, encoding = _text(kind, rest)
    except (_TooLarge, zlib.error) as error:
        if name in _XMP_KEYWORDS:
            blocks.faults.append(("XMP", f"a PNG text that cannot be decompressed ({error})"))
        return
    if name in _XMP_KEYWORDS:
        blocks.add_xmp(_profile(raw) if name.startswith("Raw") else raw)
    elif name in _EXIF_KEYWORDS:
        blocks.exif = blocks.exif or _profile(raw)
    elif name in _IPTC_KEYWORDS:
        profile = _profile(raw)
        blocks.iptc = blocks.iptc or iptc_resource(profile) or profile
    else:
        blocks.texts.append((name, raw.decode(encoding, "replace")))


def _text(kind: bytes, rest: bytes) -> tuple[bytes, str]:
    """The text of a chunk after its keyword, decompressed, and its encoding."""
    if kind == b"tEXt":
        return rest, "latin-1"
    if kind == b"zTXt":
        return _inflated(rest[1:]), "latin-1"
    is_compressed, (_, _, text) = rest[:1] == b"\x01", _language_and_text(rest[2:])
    return _inflated(text) if is_compressed else text, "utf-8"


def _language_and_text(rest: bytes) -> tuple[bytes, bytes, bytes]:
    language, _, rest = rest.partition(b"\0")
    translated, _, text = rest.partition(b"\0")
    return language, translated, text


def _inflated(packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    text = stream.decompress(packed, MOST_BLOCK_BYTES)
    if not stream.eof:
        raise _TooLarge(f"cut off, or larger than {MOST_BLOCK_BYTES:,} bytes")
    return text


def _profile(raw: bytes) -> bytes:
    """The bytes of a profile in ImageMagick's form: its name, its length, then hexadecimal digits."""
    lines = raw.strip().partition(b"\n")[2].partition(b"\n")[2]
    digits = b"".join(lines.split())
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""
