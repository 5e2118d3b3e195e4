"""Checks that a release is what it says.

Hashes, shapes, and that its vectors come out of its towers and encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.works import Corpus
from creditline.encoder.encoder import Encoder, Side
from creditline.errors import FingerprintMismatch
from creditline.release import ENCODER, Release
from creditline.towers.precomputed import precomputed_features
from creditline.towers.towers import Towers

# float16 rows of the file against float32 ones that are computed now.
_SAME_VECTOR_COSINE = 0.9999


@dataclass(frozen=True)
class Verified:
    """How many works were encoded again, and the lowest cosine with their stored vectors."""

    works: int
    lowest_cosine: float


def verify_release(
    release: Release,
    corpus: Corpus,
    towers: Towers,
    *,
    sample: int,
    seed: int,
    given: ClipFeatures | None = None,
) -> Verified:
    """Raises FingerprintMismatch at the first thing that is not as the release says.

    given: features of the works that the release was made from, where it was not made from their pictures.
    """
    release.verify_files()
    _refuse_other("corpus", release.corpus_fingerprint, corpus.fingerprint)
    _refuse_other("towers", release.towers_fingerprint, towers.fingerprint)
    if release.work_ids() != corpus.ids:
        raise FingerprintMismatch(
            f"release {release.name!r} names other works than its corpus", field="work_ids"
        )
    vectors = release.vectors()
    rows = np.sort(np.random.default_rng(seed).choice(len(corpus), min(sample, len(corpus)), replace=False))
    works = [corpus.works[row] for row in rows]
    if given is None:
        features = towers.features([work.picture() for work in works], [work.caption for work in works])
    else:
        features = precomputed_features(given, towers, corpus)[rows]
    again = Encoder.load(release.directory / ENCODER).encode_features(features, Side.WORK)
    cosines = (again * vectors[rows]).sum(axis=1)
    if cosines.min() < _SAME_VECTOR_COSINE:
        raise FingerprintMismatch(
            f"work {works[int(cosines.argmin())].id!r} encodes to a vector with cosine {cosines.min():.4f} to"
            " the stored one; build the release again with the towers that are installed",
            field="vectors",
        )
    return Verified(len(rows), float(cosines.min()))


def _refuse_other(what: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise FingerprintMismatch(
            f"the release was made from {what} {wanted[:16]}…, these are {found[:16]}…; use the same {what}",
            field=f"{what}_fingerprint",
        )
