"""Chunks of PNG files: checksums of those that hold the picture, and removal of the others.

Pillow does not check the checksums of pixel data, and refuses a whole file for a text or a profile that it
cannot read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 8
_CHECKSUM_BYTES = 4
# The upper-case first letter marks a critical chunk; transparency changes pixels too.
_TRANSPARENCY = b"tRNS"
_LAST = b"IEND"


@dataclass(frozen=True)
class _Chunk:
    """Place of one chunk in a file."""

    kind: bytes
    """Type of the chunk, four letters."""
    start: int
    """Offset of the chunk's length field."""
    end: int
    """Offset after its checksum."""

    @property
    def makes_pixels(self) -> bool:
        return self.kind[:1].isupper() or self.kind == _TRANSPARENCY


def check_critical_chunks(image: bytes) -> None:
    """Compare the checksums of the chunks that hold the picture; files of other formats pass.

    Raises:
        ValueError: A checksum differs, or the last chunk is missing.
    """
    chunks = list(_chunks(image))
    if image.startswith(_SIGNATURE) and not (chunks and chunks[-1].kind == _LAST):
        raise ValueError("the file ends before its last chunk")
    for chunk in chunks:
        if not chunk.makes_pixels:
            continue
        stored = int.from_bytes(image[chunk.end - _CHECKSUM_BYTES : chunk.end], "big")
        content = memoryview(image)[chunk.start + 4 : chunk.end - _CHECKSUM_BYTES]
        if zlib.crc32(content) != stored:
            raise ValueError(f"the checksum of its {chunk.kind.decode('latin-1')} chunk is wrong")


def without_ancillary_chunks(image: bytes) -> bytes | None:
    """The file with only the chunks that hold the picture; None if it is no PNG file or holds no others."""
    kept, ancillary, end = [image[: len(_SIGNATURE)]], False, len(_SIGNATURE)
    for chunk in _chunks(image):
        end = chunk.end
        if chunk.makes_pixels:
            kept.append(image[chunk.start : chunk.end])
        else:
            ancillary = True
    return b"".join([*kept, image[end:]]) if ancillary else None


def _chunks(image: bytes) -> Iterator[_Chunk]:
    """The complete chunks of a PNG file up to its last, in order; nothing for other files."""
    if not image.startswith(_SIGNATURE):
        return
    start = len(_SIGNATURE)
    while start + _HEADER_BYTES <= len(image):
        length = int.from_bytes(image[start : start + 4], "big")
        end = start + _HEADER_BYTES + length + _CHECKSUM_BYTES
        if end > len(image):
            return
        chunk = _Chunk(image[start + 4 : start + _HEADER_BYTES], start, end)
        yield chunk
        if chunk.kind == _LAST:
            return
        start = end
