"""The metadata blocks of an encoded picture, as they lie in the file, and limits on what is taken of them."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_BLOCK_BYTES = 4_000_000
"""Size of the largest block that is read, after decompression; a larger one is a fault."""
MOST_BLOCKS = 20_000
"""Number of blocks of a file that are looked at; pixels of large pictures lie in many blocks."""


@dataclass
class Blocks:
    """The metadata blocks of one picture."""

    xmp: list[bytes] = field(default_factory=list)
    """XMP packets."""
    exif: bytes = b""
    """EXIF data: a TIFF structure, without or with the mark `Exif` before it."""
    iptc: bytes = b""
    """IPTC data sets (IIM)."""
    texts: list[tuple[str, str]] = field(default_factory=list)
    """Keywords and texts of a PNG file."""
    has_c2pa: bool = False
    """Whether there is a C2PA manifest."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """Places and reasons of the blocks that could not be read, although they may hold statements."""

    def add_xmp(self, packet: bytes) -> None:
        """Keep a packet, or note that it is too large."""
        if len(packet) > MOST_BLOCK_BYTES:
            self.faults.append(("XMP", f"a packet of {len(packet):,} bytes"))
        elif packet.strip(b"\0 \r\n\t"):
            self.xmp.append(packet)
