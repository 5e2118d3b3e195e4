"""Verification of a release: hashes, fingerprints, shapes, and vectors encoded again from the works."""

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

# Stored vectors are float16, newly computed ones float32.
_SAME_VECTOR_COSINE = 0.9999


@dataclass(frozen=True)
class Verified:
    """Result of a verification."""

    works: int
    """Number of works that were encoded again."""
    lowest_cosine: float
    """Lowest cosine between a work's stored and new vector."""


def verify_release(
    release: Release,
    corpus: Corpus,
    towers: Towers,
    *,
    sample: int,
    seed: int,
    given: ClipFeatures | None = None,
) -> Verified:
    """Check files, corpus, towers and a sample of vectors against a release.

    Args:
        release: The release.
        corpus: The works that the release was built from.
        towers: The towers that the release was built with.
        sample: Number of works to encode again.
        seed: Seed of the sample.
        given: Precomputed features, for a release that was built from these and not from pictures.

    Returns:
        Number of works in the sample, and their lowest cosine.

    Raises:
        FingerprintMismatch: A file, the corpus, the towers, the ids or a vector differ from the release.
    """
    release.verify_files()
    _refuse_other("corpus", release.corpus_fingerprint, corpus.fingerprint)
    _refuse_other("towers", release.towers_fingerprint, towers.fingerprint)
    if release.work_ids() != corpus.ids:
        raise FingerprintMismatch(
            f"release {release.name!r} lists other works than its corpus; build the release again",
            field="work_ids",
        )
    vectors = release.vectors()
    rows = np.sort(np.random.default_rng(seed).choice(len(corpus), min(sample, len(corpus)), replace=False))
    works = [corpus.works[row] for row in rows]
    if given is None:
        features = towers.features([work.picture() for work in works], [work.caption for work in works])
    else:
        features = precomputed_features(given, towers, corpus)[rows]
    encoded = Encoder.load(release.directory / ENCODER).encode_features(features, Side.WORK)
    cosines = (encoded * vectors[rows]).sum(axis=1)
    if cosines.min() < _SAME_VECTOR_COSINE:
        raise FingerprintMismatch(
            f"work {works[int(cosines.argmin())].id!r} encodes to a vector whose cosine with the stored one"
            f" is {cosines.min():.4f}; build the release again with the towers that are installed",
            field="vectors",
        )
    return Verified(len(rows), float(cosines.min()))


def _refuse_other(what: str, expected: str, actual: str) -> None:
    if expected != actual:
        raise FingerprintMismatch(
            f"the release was built with {what} {expected[:16]}…, not with {actual[:16]}…; use the same"
            f" {what}",
            field=f"{what}_fingerprint",
        )
