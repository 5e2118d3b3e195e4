"""Works' joined features from what was computed before, for towers that embed the queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.towers.towers import Towers


def given_features(given: ClipFeatures, towers: Towers, corpus: Corpus) -> NDArray[np.float32]:
    """(N, F) float32, row i of `corpus.works[i]`; captions that were not embedded before are embedded now.

    Raises InvalidInput when widths, works or parts do not fit.
    """
    if towers.parts.layout:
        raise InvalidInput(
            "a layout takes the pictures themselves, which features computed before do not hold; add"
            " '+no-layout' to the towers",
            field="towers",
        )
    images = given.images()
    texts = given.texts() if given.has_texts else _texts_now(towers, corpus)
    for name, features, wanted in (
        ("pictures", images, towers.parts.image),
        ("captions", texts, towers.parts.text),
    ):
        if features.shape != (len(corpus), wanted):
            raise InvalidInput(
                f"features of {name} have shape {features.shape}, {len(corpus)} works and these towers need"
                f" {(len(corpus), wanted)}; name the towers and the corpus that they are of",
                field="work_features",
            )
    return np.concatenate([images, texts], axis=1)


def _texts_now(towers: Towers, corpus: Corpus) -> NDArray[np.float32]:
    features = towers.text_features([work.caption for work in corpus]).cpu().numpy()
    found: NDArray[np.float32] = features / np.linalg.norm(features, axis=1, keepdims=True)
    return found
