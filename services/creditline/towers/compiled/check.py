"""The check of compiled towers: their features of 208 inputs against those by eager torch.

The inputs are drawn by numpy from a fixed seed: pictures from plain to pure noise, and texts of 0 to some 100
words, which the compiled tower reads in batches of mixed lengths and eager torch in batches of like length.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from creditline.towers.runners import EagerRunner, Runner
from creditline.towers.towers import Towers

IMAGE, TEXT = "image", "text"
LEAST_COSINE = 0.999999
_SEED = 20261130
# Sizes of the batches of pictures and of texts. Large batches of pictures would only cost memory.
_PICTURES = (1, 1, 2, 3, 4, 5, *(4,) * 48)
_TEXTS = (1, 1, 2, 3, 5, 4, 8, 8, *(16,) * 11)
# Number of pictures, and of texts.
INPUTS = sum(_PICTURES)
# Greatest number of words in each batch of texts.
_WORDS = (0, 90, 3, 5, 8, 110, 12, 24, 6, 18, 40, 9, 15, 7, 12, 30, 10, 20, 8)
_VOCABULARY = (
    *("a", "the", "red", "blue", "old", "small", "wooden", "ladybug", "leaf", "house", "tree", "winter"),
    *("cat", "clock", "flag", "map", "of", "on", "under", "beside", "3", "1987", "&", ";", "x", "(signed)"),
    *("zwölf", "été", "赤い", "кот", "café"),
)

Features = NDArray[np.float32]


def picture_batches(shape: tuple[int, int, int]) -> Iterator[NDArray[np.uint8]]:
    """Pictures of coloured squares, from one to many, with noise.

    Args:
        shape: Height, width and channels.

    Yields:
        (B, height, width, channels) uint8, INPUTS pictures in all.
    """
    rng = np.random.default_rng(_SEED)
    for size in _PICTURES:
        yield np.stack([_picture(rng, shape) for _ in range(size)])


def _picture(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    height, width, channels = shape
    cells = int(rng.integers(1, 17))
    colours = rng.integers(0, 256, (cells, cells, channels))
    rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
    noise = rng.integers(0, 1 + int(rng.integers(0, 256)), shape)
    return np.minimum(colours[rows][:, columns] + noise, 255).astype(np.uint8)


def text_batches() -> Iterator[list[str]]:
    """Batches of texts of mixed lengths, INPUTS texts in all."""
    rng = np.random.default_rng(_SEED)
    for size, most in zip(_TEXTS, _WORDS, strict=True):
        counts = [most, *rng.integers(0, most + 1, size - 1)]
        yield [" ".join(rng.choice(_VOCABULARY, count)) for count in counts]


def image_features(towers: Towers, run: Runner) -> Features:
    """Features of the check's pictures by a runner: (INPUTS, D) float32."""
    return np.concatenate([run(pixels).numpy() for pixels in picture_batches(towers.pixels_shape)])


def text_features(towers: Towers, run: Runner) -> Features:
    """Features of the check's texts by a runner, in batches of mixed lengths: (INPUTS, D) float32."""
    batches = (np.ascontiguousarray(towers.tokens(texts)) for texts in text_batches())
    return np.concatenate([run(tokens).numpy() for tokens in batches])


def eager_features(towers: Towers, *, batches: int | None = None) -> dict[str, Features]:
    """Features by eager torch, by tower; texts are batched by like length.

    Args:
        towers: Eager towers on the CPU.
        batches: Number of batches of each kind, from the first; None: all.

    Returns:
        By tower, (N, D) float32 of the N inputs in these batches.
    """
    run = EagerRunner(towers.image_network, towers.device)
    pictures = islice(picture_batches(towers.pixels_shape), batches)
    texts = [text for batch in islice(text_batches(), batches) for text in batch]
    return {
        IMAGE: np.concatenate([run(pixels).numpy() for pixels in pictures]),
        TEXT: towers.text_features(texts).numpy(),
    }


def least_cosine(features: Features, reference: Features) -> float:
    """Smallest cosine between rows; NaN where a feature is not finite, and 0 where the shapes differ."""
    if features.shape != reference.shape:
        return 0.0
    ours, theirs = features.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(((ours * theirs).sum(axis=1) / norms).min())
