"""What the files of one directory are: pictures, their captions, and files that are losses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

from creditline.corpus.sources.formats.sample_files import CAPTIONS
from creditline.corpus.sources.picture_check import SUFFIXES

# Pictures in formats that are not read; whoever has them is told to convert them.
_OTHER_PICTURES = tuple(
    suffix
    for suffix in (
        *(
            ".avif",
            ".heic",
            ".heif",
            ".jxl",
            ".jfif",
            ".jp2",
            ".tif",
            ".tiff",
            ".svg",
            ".psd",
            ".tga",
            ".ppm",
        ),
        *(".pgm", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw", ".eps", ".ico"),
    )
    if suffix not in SUFFIXES
)
# Names of texts that are about a directory, not about a picture.
_ABOUT = frozenset(
    {
        *(
            "authors",
            "changelog",
            "citation",
            "classes",
            "contributing",
            "copying",
            "credits",
            "index",
            "info",
        ),
        *("labels", "licence", "license", "notes", "notice", "prompt", "prompts", "readme", "requirements"),
        *("sources", "tags"),
    }
)


def is_picture(name: str) -> bool:
    """Whether a file is a picture in a format that is read."""
    return name.lower().endswith(SUFFIXES)


def is_other_picture(name: str) -> bool:
    """Whether a file is a picture in a format that is not read."""
    return name.lower().endswith(_OTHER_PICTURES)


def rows_of(names: Sequence[str]) -> list[str]:
    """The files of a directory that are rows, in order.

    These are pictures, pictures in formats that are not read, unless the same picture lies beside them in
    another format, and captions whose picture is missing.

    Args:
        names: All visible files of the directory, in order.
    """
    pictures = [name for name in names if is_picture(name)]
    stems = {*pictures, *map(stem_of, pictures)}
    others = {stem_of(name) for name in names if is_other_picture(name)}
    captions = [name for name in names if _is_caption(name) and stem_of(name).lower() not in _ABOUT]
    alone = {name for name in captions if stem_of(name) not in stems | others}
    if len(alone) > len(captions) - len(alone):  # Captions are not kept beside the pictures here.
        alone.clear()
    return [
        name
        for name in names
        if is_picture(name) or (is_other_picture(name) and stem_of(name) not in stems) or name in alone
    ]


def stem_of(name: str) -> str:
    """The name without its last suffix."""
    return PurePosixPath(name).stem


def beside(names: Collection[str], stem: str, *suffixes: str) -> str | None:
    """The file with a stem and one of some suffixes, in lower or upper case; None without one."""
    spellings = (
        spelling for suffix in suffixes for spelling in (suffix, suffix.upper(), suffix.capitalize())
    )
    return next((f"{stem}{spelling}" for spelling in spellings if f"{stem}{spelling}" in names), None)


def main_picture_of(names: Collection[str], name: str) -> str | None:
    """The picture that a file such as `cat.depth.png` belongs to; None without one such as `cat.jpg`."""
    for stem in _shorter_stems(stem_of(name)):
        picture = beside(names, stem, *SUFFIXES)
        if picture is not None:
            return picture
    return None


def _shorter_stems(stem: str) -> Iterator[str]:
    while "." in stem:
        stem = stem.rpartition(".")[0]
        yield stem


def _is_caption(name: str) -> bool:
    return name.lower().endswith(tuple(f".{ending}" for ending in CAPTIONS))
