"""The reference generator's corpus: the works that it was trained on, and the works held out as decoys."""

from __future__ import annotations

from functools import cache

import numpy as np

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Corpus

REFERENCE_NAME = "openclipart-reference"
REFERENCE_FOLDERS = (
    "animals",
    "buildings",
    "food",
    "office",
    "people",
    "plants",
    "tools",
    "transportation",
)
_DECOY_FRACTION = 0.05
_DECOY_SEED = 20261124


def split_decoys(corpus: Corpus, *, fraction: float, seed: int) -> tuple[Corpus, Corpus]:
    """Split a corpus at random into training works and decoys.

    Complete duplicate groups are drawn until at least `fraction` of the works are held out, so that no near
    copy of a decoy is trained on.

    Args:
        corpus: The works.
        fraction: Least fraction of the works that are held out.
        seed: Seed of the split.

    Returns:
        The training works, and the decoys.
    """
    groups = sorted({work.duplicate_group for work in corpus})
    order = np.random.default_rng(seed).permutation(len(groups))
    sizes: dict[str, int] = {}
    for work in corpus:
        sizes[work.duplicate_group] = sizes.get(work.duplicate_group, 0) + 1
    held_out: set[str] = set()
    count = 0
    for index in order:
        if count >= fraction * len(corpus):
            break
        held_out.add(groups[int(index)])
        count += sizes[groups[int(index)]]
    return (
        corpus.where(lambda work: work.duplicate_group not in held_out, name=corpus.name),
        corpus.where(lambda work: work.duplicate_group in held_out, name=f"{corpus.name}-decoys"),
    )


@cache
def _reference_split() -> tuple[Corpus, Corpus]:
    folders = embedded_corpus().where(lambda work: work.folder in REFERENCE_FOLDERS, name=REFERENCE_NAME)
    return split_decoys(folders, fraction=_DECOY_FRACTION, seed=_DECOY_SEED)


def reference_corpus() -> Corpus:
    """The works that the reference generator was trained on, to which its pictures are attributed."""
    return _reference_split()[0]


def reference_decoys() -> Corpus:
    """Works of the same folders that the reference generator never saw."""
    return _reference_split()[1]
