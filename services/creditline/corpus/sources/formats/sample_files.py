"""The files of one sample, known by their endings: the picture, its caption, and maps or masks of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from creditline.corpus.sources.picture_check import SUFFIXES

PICTURES = tuple(dict.fromkeys(("jpg", "jpeg", "png", "webp", *(suffix[1:] for suffix in SUFFIXES))))
"""Endings of pictures, in order of preference where a sample has several."""
CAPTIONS = ("txt", "text", "caption")
"""Endings of texts that hold a caption alone."""
SEVERAL_PICTURES = "several pictures in a sample, one is used"
REPEATED_FILE = "file repeated in a sample, the first is used"
_MAIN = frozenset(
    {
        *("image", "img", "picture", "photo", "rgb", "input", "original", "orig", "source", "target", "full"),
        *("main", "color", "colour"),
    }
)
_MAPS = frozenset(
    {
        *("albedo", "alpha", "ao", "bbox", "boxes", "canny", "cond", "condition", "conditioning", "control"),
        *("controlnet", "depth", "disparity", "edge", "edges", "flow", "hed", "heatmap", "hint", "label"),
        *("labels", "lineart", "map", "mask", "masks", "matte", "metallic", "normal", "normals", "openpose"),
        *(
            "overlay",
            "pose",
            "roughness",
            "saliency",
            "scribble",
            "seg",
            "segmentation",
            "sketch",
            "softedge",
        ),
        *("thumb", "thumbnail", "trimap"),
    }
)
_WORD = re.compile(r"[a-z]+")


def main_picture(endings: Iterable[str]) -> str | None:
    """The ending of a sample's main picture.

    Args:
        endings: Endings of all files of the sample, from the first dot on, in lower case.

    Returns:
        The ending that is a picture format by itself (`jpg`), else one that names the main picture
        (`image.png`), else the first that does not name a map or a mask; None without any of these.
    """
    pictures = [ending for ending in endings if ending.rpartition(".")[2] in PICTURES]
    plain = [ending for ending in PICTURES if ending in pictures]
    views = [ending for ending in pictures if "." in ending and not is_map(ending)]
    main = [ending for ending in views if not _MAIN.isdisjoint(_words(ending))]
    return next(iter([*plain, *main, *views]), None)


def is_map(ending: str) -> bool:
    """Whether an ending such as `depth.png` names a map or a mask of a picture."""
    return not _MAPS.isdisjoint(_words(ending))


def has_several_pictures(endings: Iterable[str]) -> bool:
    """Whether a sample has more than one picture that is no map or mask."""
    pictures = (ending for ending in endings if ending.rpartition(".")[2] in PICTURES)
    return sum(not is_map(ending) for ending in pictures) > 1


def ending_of(ending: str, stems: Collection[str]) -> str:
    """The last part of an ending whose stem has become part of a key; any other ending unchanged."""
    stem, _, last = ending.rpartition(".")
    return last if stem in stems else ending


def _words(ending: str) -> set[str]:
    return set(_WORD.findall(ending.rpartition(".")[0]))
