"""Conversion of pictures to sRGB, by their embedded colour profiles."""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image, ImageCms

# The transforms of a corpus's few profiles; each holds tables of some hundred kilobytes.
_TRANSFORMS = 8
_MOST_PROFILE_BYTES = 4 << 20
_SRGB = "srgb"
# Colour space of a profile -> mode of the pictures that it describes.
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture as RGB, or as RGBA if it has an alpha channel.

    A profile that is broken, or that describes another kind of picture, is ignored.

    Args:
        picture: The picture, in mode L, LA, RGB, RGBA, CMYK or LAB.
        profile: Content of its ICC profile; None: it is sRGB.
    """
    if picture.mode not in ("LA", "RGBA"):
        return _opaque_to_srgb(picture, profile)
    opaque = picture.convert("L" if picture.mode == "LA" else "RGB")
    coloured = _opaque_to_srgb(opaque, profile)
    coloured.putalpha(picture.getchannel("A"))
    return coloured


def _opaque_to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if picture.mode == "LAB":
        return _apply(_lab_transform(), picture)
    space = _space(profile) if profile else None
    if profile is None or space is None or (picture.mode == "CMYK") != (space == "CMYK"):
        return picture.convert("RGB")
    # Grey pictures often carry the profile of the colour picture that they were made from.
    if space == "RGB" or picture.mode == space:
        return _apply(_transform(profile, space), picture.convert(space))
    return picture.convert("RGB")


def _apply(transform: ImageCms.ImageCmsTransform | None, picture: Image.Image) -> Image.Image:
    if transform is None:
        return picture.convert("RGB")
    converted = transform.apply(picture)
    converted.info.pop("icc_profile", None)
    return converted


@lru_cache(_TRANSFORMS)
def _space(profile: bytes) -> str | None:
    """Mode of the pictures that a profile describes; None for sRGB itself, and if it cannot be used."""
    if len(profile) > _MOST_PROFILE_BYTES:
        return None
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _SRGB in ImageCms.getProfileDescription(opened).lower():
            return None
        return _MODES.get(opened.profile.xcolor_space)
    except Exception:  # ImageCms raises errors of several types on broken profiles
        return None


@lru_cache(_TRANSFORMS)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return _to_srgb_from(opened, mode)
    except Exception:  # as above
        return None


@lru_cache(1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return _to_srgb_from(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")


def _to_srgb_from(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    """A transform that several threads may use at once."""
    return ImageCms.buildTransform(
        profile,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
