"""Verification of a release detects changed files and vectors."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.corpus.works import Corpus
from creditline.distillation.release.verification import verify_release
from creditline.errors import FingerprintMismatch
from creditline.release import CALIBRATION, VECTORS, Release, write_manifest
from creditline.towers.towers import Towers


def test_a_release_without_its_calibration_is_refused(
    small_release: Release, small_corpus: Corpus, towers: Towers
) -> None:
    (small_release.directory / CALIBRATION).unlink()
    with pytest.raises(FingerprintMismatch, match=r"calibration.json .*SHA-256 nothing"):
        verify_release(small_release, small_corpus, towers, sample=5, seed=0)


def test_a_vector_that_does_not_come_out_of_the_encoder_is_found(
    small_release: Release, small_corpus: Corpus, towers: Towers
) -> None:
    stored = np.load(small_release.directory / VECTORS)
    np.save(small_release.directory / VECTORS, stored[::-1].copy())
    forged = write_manifest(small_release.directory, small_release.description)
    with pytest.raises(FingerprintMismatch, match="encodes to a vector"):
        verify_release(forged, small_corpus, towers, sample=5, seed=0)
