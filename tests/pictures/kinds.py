"""One scene in every kind of file that people bring: containers, depths, transparency, colours, orientation.

Each kind is a file's bytes with the picture that it shows.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, features

from tests.pictures.profiles import (
    ADOBE_TO_XYZ,
    P3_TO_XYZ,
    cmyk_profile,
    encoded_in,
    grey_profile,
    rgb_profile,
)

_SIZE = (48, 32)
_EXACT, _ROUNDED, _LOSSY = 0.0, 3.0, 12.0
_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@dataclass(frozen=True)
class Kind:
    """A file of one kind."""

    name: str
    content: bytes
    shows: Image.Image
    """What a viewer shows: RGB."""
    tolerance: float = _EXACT
    """Largest mean difference of a channel, 0 to 255."""


def scene(size: tuple[int, int] = _SIZE) -> Image.Image:
    """A red roof, a blue door and a green corner on white, different in every corner."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    width, height = size
    draw.rectangle((width // 6, height // 4, width // 2, height - 4), fill=(200, 40, 30))
    draw.rectangle((width // 4, height // 2, width // 3, height - 4), fill=(10, 20, 120))
    draw.rectangle((width - width // 4, 0, width, height // 3), fill=(40, 150, 70))
    return picture


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def grey_scene() -> Image.Image:
    """The scene in the four greys that two bits can express; white is the background."""
    grey = np.asarray(scene().convert("L"))
    return Image.fromarray((np.clip(grey // 64, 0, 3) * 85).astype(np.uint8))


def see_through() -> Image.Image:
    """The scene as RGBA: white is transparent, and black underneath."""
    rgb = np.asarray(scene())
    is_white = (rgb == 255).all(axis=2, keepdims=True)
    return Image.fromarray(
        np.concatenate([np.where(is_white, 0, rgb), np.where(is_white, 0, 255)], 2).astype(np.uint8)
    )


def png_file(
    rows: NDArray[Any], depth: int, colour_type: int, *chunks: tuple[bytes, bytes], after: bytes = b""
) -> bytes:
    """A PNG file from samples (H, W × channels) of `depth` bits; `after`: bytes before the pixels."""
    height, across = rows.shape
    width = across // {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    lines = b"".join(b"\0" + _packed(row, depth) for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    middle = b"".join(_chunk(kind, content) for kind, content in chunks) + after
    pixels = _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + middle + pixels


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _packed(row: NDArray[Any], depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
    return np.packbits(bits.reshape(-1)).tobytes()


def kinds() -> Iterator[Kind]:
    """All kinds; they show the scene, or its grey form."""
    yield from _containers()
    yield from _oriented()
    yield from _greys()
    yield from _transparent()
    yield from _inks_and_profiles()
    yield from _animations()
    yield from _damaged_metadata()


def shapes() -> Iterator[Kind]:
    """Extreme shapes and sizes; they show what plain resizing makes of them."""
    for width, height in ((1, 10_000), (20_000, 2), (1, 1), (3000, 2000)):
        picture = scene((max(width, 12), max(height, 12))).resize((width, height))
        scale = min(1.0, 512 / max(width, height))
        small = picture.resize(
            (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS
        )
        yield Kind(f"{width} x {height} PNG", saved(picture, "PNG"), small, _ROUNDED)
        yield Kind(f"{width} x {height} JPEG", saved(picture, "JPEG", quality=95), small, _LOSSY)


def _containers() -> Iterator[Kind]:
    picture = scene()
    for kind in ("PNG", "BMP", "TIFF", "GIF"):
        yield Kind(kind, saved(picture, kind), picture)
    yield Kind("WebP lossless", saved(picture, "WEBP", lossless=True), picture)
    yield Kind("TIFF LZW", saved(picture, "TIFF", compression="tiff_lzw"), picture)
    yield Kind("palette", saved(picture.quantize(8), "PNG"), picture)
    yield Kind("palette BMP", saved(picture.quantize(8), "BMP"), picture)
    yield Kind("16-bit RGB", png_file(_flat(np.asarray(picture)) * 257, 16, 2), picture)
    for kind in ("JPEG", "WEBP"):
        yield Kind(kind, saved(picture, kind, quality=95), picture, _LOSSY)
    yield Kind("progressive JPEG", saved(picture, "JPEG", quality=95, progressive=True), picture, _LOSSY)
    yield Kind("JPEG in TIFF", saved(picture, "TIFF", compression="jpeg", quality=95), picture, _LOSSY)
    yield Kind(
        "MPO", saved(picture, "MPO", save_all=True, append_images=[Image.new("RGB", _SIZE)]), picture, _LOSSY
    )
    if features.check("avif"):
        yield Kind("AVIF", saved(picture, "AVIF", quality=95), picture, _LOSSY)


def _flat(samples: NDArray[Any]) -> NDArray[np.int64]:
    return samples.reshape(samples.shape[0], -1).astype(np.int64)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def _oriented() -> Iterator[Kind]:
    picture = scene()
    for number, turn in _TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = number
        stored = picture.transpose(turn)
        yield Kind(f"orientation {number}", saved(stored, "JPEG", quality=95, exif=exif), picture, _LOSSY)
        if number == 6:
            yield Kind("orientation in PNG", saved(stored, "PNG", exif=exif), picture)
            yield Kind("orientation in WebP", saved(stored, "WEBP", lossless=True, exif=exif), picture)
            yield Kind("orientation in TIFF", saved(stored, "TIFF", exif=exif), picture)
            yield Kind("orientation in XMP", saved(stored, "JPEG", quality=95, xmp=_XMP), picture, _LOSSY)
            if features.check("avif"):
                yield Kind(
                    "orientation in AVIF", saved(stored, "AVIF", quality=95, exif=exif), picture, _LOSSY
                )


def _greys() -> Iterator[Kind]:
    grey = grey_scene()
    values, shown = np.asarray(grey).astype(np.int64), grey.convert("RGB")
    sixteen = values * 257
    yield Kind("grey", saved(grey, "PNG"), shown)
    yield Kind("grey JPEG", saved(grey, "JPEG", quality=95), shown, _LOSSY)
    yield Kind("2-bit grey", png_file(values // 85, 2, 0), shown)
    yield Kind("4-bit grey", png_file(values // 17, 4, 0), shown)
    yield Kind("16-bit grey", png_file(sixteen, 16, 0), shown)
    yield Kind("16-bit grey and alpha", png_file(_with_alpha(sixteen, 0xFFFF), 16, 4), shown)
    for name, dtype in (("little", "<u2"), ("big", ">u2")):
        yield Kind(
            f"16-bit TIFF, {name} end first", saved(Image.fromarray(sixteen.astype(dtype)), "TIFF"), shown
        )
    inverted = Image.fromarray((0xFFFF - sixteen).astype("<u2"))
    yield Kind("16-bit TIFF, white is 0", saved(inverted, "TIFF", tiffinfo={262: 0}), shown)
    yield Kind("32-bit TIFF", saved(Image.fromarray(sixteen.astype(np.int32)), "TIFF"), shown)
    yield Kind("signed TIFF", saved(Image.fromarray((values * 9 - 900).astype(np.int32)), "TIFF"), shown)
    for white in (1.0, 255.0, 65535.0, 1e6):
        floating = Image.fromarray((values / 255 * white).astype(np.float32))
        yield Kind(f"floating-point TIFF to {white:g}", saved(floating, "TIFF"), shown)
    black_and_white = grey.point(lambda value: 255 if value > 127 else 0).convert(
        "1", dither=Image.Dither.NONE
    )
    for kind in ("PNG", "TIFF", "BMP"):
        yield Kind(f"1-bit {kind}", saved(black_and_white, kind), black_and_white.convert("RGB"))


def _with_alpha(grey: NDArray[np.int64], opaque: int) -> NDArray[np.int64]:
    """Rows of grey and alpha: white is transparent, and black underneath."""
    is_white = grey == grey.max()
    return np.stack([np.where(is_white, 0, grey), np.where(is_white, 0, opaque)], axis=2).reshape(
        len(grey), -1
    )


def _transparent() -> Iterator[Kind]:
    picture, clear = scene(), see_through()
    for kind in ("PNG", "TIFF"):
        yield Kind(f"RGBA {kind}", saved(clear, kind), picture)
    yield Kind("RGBA WebP", saved(clear, "WEBP", lossless=True, exact=True), picture)
    yield Kind("RGBA GIF", saved(clear, "GIF"), picture)
    yield Kind("16-bit RGBA", png_file(_flat(np.asarray(clear)) * 257, 16, 6), picture)
    palette = clear.quantize(8)
    yield Kind("palette with alpha", saved(palette, "PNG"), picture)
    if features.check("avif"):
        yield Kind("RGBA AVIF", saved(clear, "AVIF", quality=95), picture, _LOSSY)
    colours = np.where(np.asarray(picture) == 255, 254, np.asarray(picture)).astype(np.int64)
    key = struct.pack(">HHH", 254, 254, 254)
    yield Kind("transparent colour", png_file(_flat(colours), 8, 2, (b"tRNS", key)), picture)
    deep = struct.pack(">HHH", *[254 * 257] * 3)
    yield Kind("transparent 16-bit colour", png_file(_flat(colours) * 257, 16, 2, (b"tRNS", deep)), picture)
    grey = grey_scene()
    # The background is stored as black, and black is transparent.
    values = np.where(np.asarray(grey) == 255, 0, np.asarray(grey)).astype(np.int64)
    shown = Image.fromarray(np.where(values == 0, 255, values).astype(np.uint8)).convert("RGB")
    for depth in (2, 4, 8, 16):
        samples = values * (2**depth - 1) // 255
        yield Kind(f"transparent {depth}-bit black", png_file(samples, depth, 0, (b"tRNS", bytes(2))), shown)
        mark = 170 * (2**depth - 1) // 255
        marked = np.where(samples == 0, mark, samples)
        greys = Image.fromarray(np.where(values == 170, 255, shown.convert("L")).astype(np.uint8)).convert(
            "RGB"
        )
        key = struct.pack(">H", mark)
        yield Kind(f"transparent {depth}-bit grey", png_file(marked, depth, 0, (b"tRNS", key)), greys)
    yield Kind(
        "grey and alpha",
        png_file(_with_alpha(np.asarray(grey).astype(np.int64), 255), 8, 4),
        grey.convert("RGB"),
    )


def _inks_and_profiles() -> Iterator[Kind]:
    picture, grey = scene(), grey_scene()
    cmyk = picture.convert("CMYK")
    yield Kind("CMYK JPEG", saved(cmyk, "JPEG", quality=95), picture, _LOSSY)
    yield Kind("CMYK TIFF", saved(cmyk, "TIFF"), picture)
    black_ink = Image.merge("CMYK", [*[Image.new("L", _SIZE)] * 3, grey.point(lambda value: 255 - value)])
    two_tone = black_ink.point(lambda value: 255 if value > 127 else 0)
    shown = two_tone.getchannel(3).point(lambda value: 80 if value else 255).convert("RGB")
    yield Kind("CMYK with a profile", saved(two_tone, "TIFF", icc_profile=cmyk_profile()), shown, _ROUNDED)
    for name, primaries in (("Display P3", P3_TO_XYZ), ("Adobe RGB", ADOBE_TO_XYZ)):
        stored, profile = Image.fromarray(encoded_in(np.asarray(picture), primaries)), rgb_profile(primaries)
        yield Kind(f"{name} PNG", saved(stored, "PNG", icc_profile=profile), picture, _ROUNDED)
        yield Kind(
            f"{name} WebP", saved(stored, "WEBP", lossless=True, icc_profile=profile), picture, _ROUNDED
        )
        jpeg = saved(stored, "JPEG", quality=95, icc_profile=profile)
        yield Kind(f"{name} JPEG", jpeg, picture, _LOSSY)
        clear = see_through()
        stored.putalpha(clear.getchannel("A"))
        yield Kind(f"{name} RGBA", saved(stored, "PNG", icc_profile=profile), picture, _ROUNDED)
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield Kind("sRGB profile", saved(picture, "PNG", icc_profile=own), picture)
    linear = (np.asarray(grey) / 255.0) ** (2.2 / 1.0) * 255
    stored = Image.fromarray(np.rint(linear).astype(np.uint8))
    yield Kind(
        "linear grey", saved(stored, "PNG", icc_profile=grey_profile(1.0)), grey.convert("RGB"), _ROUNDED
    )
    lab = ImageCms.profileToProfile(
        picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    yield Kind("Lab TIFF", saved(lab, "TIFF"), picture, _ROUNDED)
    yield Kind("profile of another kind", saved(picture, "PNG", icc_profile=cmyk_profile()), picture)
    yield Kind("CMYK with an RGB profile", saved(cmyk, "TIFF", icc_profile=own), picture)
    for kind in ("PNG", "TIFF"):
        yield Kind(f"broken profile {kind}", saved(picture, kind, icc_profile=b"not a profile" * 20), picture)


def _animations() -> Iterator[Kind]:
    picture, other = scene(), Image.new("RGB", _SIZE, "navy")
    for kind, options in (("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        animation = saved(picture, kind, save_all=True, append_images=[other], **options)
        yield Kind(f"animated {kind}", animation, picture)
    if features.check("avif"):
        frames = saved(picture, "AVIF", save_all=True, append_images=[other], quality=95)
        yield Kind("animated AVIF", frames, picture, _LOSSY)
    shown = Image.new("RGB", (4, 4), "white")
    shown.paste((0, 255, 0), (1, 1, 3, 3))
    yield Kind("GIF with an offset frame", _offset_gif(), shown)


def _offset_gif() -> bytes:
    """A canvas of 4 × 4 with a green frame of 2 × 2 in its middle; the first palette entry is red."""
    palette = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    codes, bits = (4, 1, 1, 4, 1, 1, 5), 0
    for place, code in enumerate(codes):
        bits |= code << (3 * place)
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    frame = b"\x2c" + struct.pack("<HHHHB", 1, 1, 2, 2, 0) + b"\x02" + bytes([len(data)]) + data + b"\0"
    return b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x81, 0, 0) + palette + frame + b"\x3b"


def _damaged_metadata() -> Iterator[Kind]:
    picture = scene()
    rows = _flat(np.asarray(picture))
    huge = b"profile\0\0" + zlib.compress(bytes(3 << 20))
    yield Kind("profile too large for Pillow", png_file(rows, 8, 2, (b"iCCP", huge)), picture)
    yield Kind("text too large for Pillow", png_file(rows, 8, 2, (b"zTXt", huge)), picture)
    yield Kind("profile by an unknown method", png_file(rows, 8, 2, (b"iCCP", b"x\0\x07abc")), picture)
    yield Kind("wrong checksum of a text", png_file(rows, 8, 2, after=b"\0\0\0\x04tEXtabcd\0\0\0\0"), picture)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        broken = saved(picture, kind, exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff", **options)
        yield Kind(f"broken EXIF in {kind}", broken, picture)
