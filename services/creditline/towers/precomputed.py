"""Joined features of works from precomputed CLIP features; the towers then embed only the queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.directions import unit_rows
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.towers.towers import Towers


def precomputed_features(given: ClipFeatures, towers: Towers, corpus: Corpus) -> NDArray[np.float32]:
    """Join precomputed features of pictures and captions; captions without stored features are embedded.

    Args:
        given: Precomputed features of the works.
        towers: The towers that made them, without layout.
        corpus: The N works.

    Returns:
        (N, F) float32, row i of `corpus.works[i]`.

    Raises:
        InvalidInput: The towers have a layout, or the features do not fit the towers or the corpus.
    """
    if towers.parts.layout:
        raise InvalidInput(
            "the towers include the layout, which needs the pictures themselves, and precomputed features"
            " do not hold these; add '+no-layout' to the towers",
            field="towers",
        )
    images = given.images()
    texts = given.texts() if given.has_texts else _caption_features(towers, corpus)
    for name, features, dimension in (
        ("pictures", images, towers.parts.image),
        ("captions", texts, towers.parts.text),
    ):
        if features.shape != (len(corpus), dimension):
            raise InvalidInput(
                f"features of {name} have shape {features.shape}, {len(corpus)} works and these towers need"
                f" {(len(corpus), dimension)}; name the towers and the corpus that the features were computed"
                " from",
                field="work_features",
            )
    return np.concatenate([images, texts], axis=1)


def _caption_features(towers: Towers, corpus: Corpus) -> NDArray[np.float32]:
    return unit_rows(towers.text_features([work.caption for work in corpus]).cpu().numpy())
