"""Label sets and examples of a learnable teacher, which depends on features that raw cosine hides."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import LabelledQuery, LabelSet
from creditline.distillation.training.fitting import Examples
from creditline.towers.parts import Parts

PARTS = Parts(image=16, layout=8, text=16)
FEATURES = PARTS.width
_TOLD_FEATURES = 6


def learnable_examples(queries: int, works: int, *, seed: int) -> Examples:
    """The teacher sees `_TOLD_FEATURES` of the features only, and adds a little noise. The works and what the
    teacher sees are the same whatever the seed; it draws the queries."""
    fixed = np.random.default_rng(0)
    work_features = _parts_of_length_one(fixed.normal(size=(works, FEATURES)))
    told = fixed.permutation(FEATURES)[:_TOLD_FEATURES]
    random = np.random.default_rng(seed)
    query_features = _parts_of_length_one(random.normal(size=(queries, FEATURES)))
    influence = query_features[:, told] @ work_features[:, told].T
    influence += 0.1 * influence.std() * random.normal(size=influence.shape)
    return Examples(query_features, work_features, influence.astype(np.float32), PARTS)


def _parts_of_length_one(features: np.ndarray) -> np.ndarray:
    parts = [features[:, part] for part in PARTS.slices().values()]
    joined = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    return np.concatenate(joined, axis=1).astype(np.float32)


def queries(train: int, held_out: int) -> tuple[LabelledQuery, ...]:
    """Plain coloured pictures with prompts of their own."""
    random = np.random.default_rng(1)
    made = []
    for number in range(train + held_out):
        colour = tuple(random.integers(0, 255, 3).tolist())
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), colour).save(buffer, format="PNG")
        split = "train" if number < train else "heldout"
        made.append(LabelledQuery(buffer.getvalue(), f"a picture of {number}", number, 2.5, split))
    return tuple(made)


def label_set(*, train: int = 5, held_out: int = 3, works: int = 7, decoys: int = 2) -> LabelSet:
    random = np.random.default_rng(2)

    def drawn(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    return LabelSet(
        queries=queries(train, held_out),
        influence=drawn(train + held_out, works),
        generator_fingerprint="a" * 64,
        corpus_name="some works",
        corpus_fingerprint="b" * 64,
        influence_repeat=drawn(held_out, works),
        decoy_influence=drawn(train + held_out, decoys),
        decoy_fingerprint="c" * 64,
    )


def labels_of(corpus: Corpus) -> LabelSet:
    """Random influence of a corpus's works on 10 training and 6 held-out queries."""
    influence = np.random.default_rng(0).normal(size=(16, len(corpus))).astype(np.float32)
    return LabelSet(queries(10, 6), influence, "a" * 64, corpus.name, corpus.fingerprint)
