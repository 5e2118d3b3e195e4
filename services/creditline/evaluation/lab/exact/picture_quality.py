"""How well a generator recalls works from their captions: the percentile of a picture's own work.

The measure of the reference generator's benchmark (`own_work_percentile`), on the lab's works.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.corpus.works import Corpus
from creditline.generator.pipeline import Generator
from creditline.towers.towers import Towers

_SEED = 11


def own_work_percentiles(
    generator: Generator, works: Corpus, towers: Towers, count: int
) -> NDArray[np.float64]:
    """Fraction of the works that are nearer to a picture than the work whose caption is its prompt.

    Args:
        generator: The generator that makes the pictures.
        works: The works that it was trained on.
        towers: Towers whose image tower compares pictures.
        count: Number of pictures P, for random works; the same for every generator.

    Returns:
        (P,) float64; 0 where the own work is nearest, about 0.5 for a generator that ignores captions.
    """
    own = np.random.default_rng(_SEED).permutation(len(works))[:count]
    captions = [works.works[row].caption for row in own]
    pictures = generator.sample(captions, [_SEED * 1000 + place for place in range(len(own))])
    features = [
        towers.image_features([_small(picture, generator.resolution) for picture in some]).numpy()
        for some in (pictures, [work.picture() for work in works])
    ]
    similarity = features[0] @ features[1].T
    nearer = similarity > similarity[np.arange(len(own)), own][:, None]
    percentiles: NDArray[np.float64] = nearer.mean(axis=1)
    return percentiles


def _small(picture: Image.Image, side: int) -> Image.Image:
    return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
