"""Reading of what an encoded picture says about itself: no pixels, no network, bounded time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from creditline.corpus.consent.uses import Statement
from creditline.corpus.embedded.c2pa import manifest_metadata
from creditline.corpus.embedded.containers.blocks import Blocks
from creditline.corpus.embedded.containers.jpeg import SIGNATURE as JPEG_SIGNATURE
from creditline.corpus.embedded.containers.jpeg import jpeg_blocks
from creditline.corpus.embedded.containers.other_formats import (
    avif_blocks,
    gif_blocks,
    tiff_blocks,
    webp_blocks,
)
from creditline.corpus.embedded.containers.png import SIGNATURE as PNG_SIGNATURE
from creditline.corpus.embedded.containers.png import png_blocks
from creditline.corpus.embedded.exif import exif_metadata
from creditline.corpus.embedded.iptc import iptc_metadata
from creditline.corpus.embedded.picture_metadata import NO_METADATA, PictureMetadata
from creditline.corpus.embedded.png_text import png_text_metadata
from creditline.corpus.embedded.xmp import REMOTE_MANIFEST, xmp_metadata

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")


def picture_metadata(encoded: bytes) -> PictureMetadata:
    """Names, licences and statements in an encoded picture.

    Args:
        encoded: Content of a JPEG, PNG, WebP, GIF, TIFF or AVIF file; other formats say nothing.

    Returns:
        The metadata, that of XMP first. A block that may hold a statement and cannot be read is an unreadable
        statement; a picture never raises an error.
    """
    mime_type, read = _format(encoded)
    if read is None:
        return NO_METADATA
    try:
        blocks = read(encoded)
    except Exception as error:  # Pillow's readers raise errors of any type for malformed data.
        return PictureMetadata(statements=(Statement.unreadable(mime_type, f"damaged ({error})"),))
    return _metadata(blocks, encoded, mime_type)


def media_type(encoded: bytes) -> str:
    """The media type of an encoded picture; `unknown` for formats that hold no metadata."""
    return _format(encoded)[0] or ("image/bmp" if encoded.startswith(b"BM") else "unknown")


def _metadata(blocks: Blocks, encoded: bytes, mime_type: str) -> PictureMetadata:
    parts = [xmp_metadata(packet) for packet in blocks.xmp]
    if blocks.has_c2pa:  # The manifest that is here is the one that the packet says to be elsewhere, too.
        parts = list(map(_without_remote_manifest, parts))
    parts += [iptc_metadata(blocks.iptc)] if blocks.iptc else []
    parts += [exif_metadata(blocks.exif)] if blocks.exif else []
    parts += [png_text_metadata(blocks.texts)] if blocks.texts else []
    parts += [manifest_metadata(encoded, mime_type)] if blocks.has_c2pa else []
    if blocks.faults:
        faults = tuple(Statement.unreadable(place, reason) for place, reason in blocks.faults)
        parts.append(PictureMetadata(statements=faults))
    return NO_METADATA.joined(*parts) if parts else NO_METADATA


def _without_remote_manifest(metadata: PictureMetadata) -> PictureMetadata:
    kept = (one for one in metadata.statements if not one.place.endswith(REMOTE_MANIFEST))
    return replace(metadata, statements=tuple(kept))


def _format(encoded: bytes) -> tuple[str, Callable[[bytes], Blocks] | None]:
    """Media type of a picture and the reader of its blocks; None for formats without metadata."""
    if encoded.startswith(JPEG_SIGNATURE):
        return "image/jpeg", jpeg_blocks
    if encoded.startswith(PNG_SIGNATURE):
        return "image/png", png_blocks
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "image/webp", webp_blocks
    if encoded[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif", gif_blocks
    if encoded.startswith(_TIFF_SIGNATURES):
        return "image/tiff", tiff_blocks
    if encoded[4:8] == b"ftyp" and encoded[8:12] in _AVIF_BRANDS:
        return "image/avif", avif_blocks
    return "", None
