"""A release with an untrained encoder, for tests and development; it ranks as raw features do.

`python -m creditline.distillation.release.development --output DIR` writes one. Its model card has no
figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from creditline.calibration import Calibration
from creditline.corpus.works import Corpus
from creditline.distillation.release.publication import ReleaseContent, write_release
from creditline.distillation.training.feature_store import FeatureStore
from creditline.encoder.encoder import WIDTH, Encoder, EncoderShape, Projection, Side
from creditline.generator.reference import reference_corpus
from creditline.release import CORPUS_FILE, Release
from creditline.release.parts import CORPUS
from creditline.towers.towers import Towers

_NAME = "development"
_NO_GENERATOR = "0" * 64
# Influence 0 up to cosine 0.5, then linear to 1 at cosine 1: enough to distinguish works.
_CALIBRATION = Calibration(cosine=(-1.0, 0.5, 1.0), influence=(0.0, 0.0, 1.0))
_NOTES = "Untrained: the initial weights, which keep the raw features' cosine. For tests only."


def write_development_release(
    directory: Path,
    corpus: Corpus,
    store: FeatureStore,
    *,
    generator_fingerprint: str = _NO_GENERATOR,
    name: str = _NAME,
    width: int = WIDTH,
    seed: int = 0,
) -> Release:
    """Write a release with real towers and an encoder with initial weights.

    Args:
        directory: Directory of the release.
        corpus: Works of the release.
        store: Source of the works' features.
        generator_fingerprint: Fingerprint that the release names.
        name: Name of the release.
        width: Dimension of the vectors.
        seed: Seed of the initial weights.
    """
    features = store.works(corpus)
    scales = np.ones(features.shape[1], dtype=np.float32)
    projection = Projection.principal(features, width, scales=scales, centred=False)
    encoder = Encoder.initial(EncoderShape(features.shape[1], width), projection, seed=seed).rounded()
    content = ReleaseContent(
        name=name,
        encoder=encoder,
        work_vectors=encoder.encode_features(features, Side.WORK),
        calibration=_CALIBRATION,
        corpus=corpus,
        generator_fingerprint=generator_fingerprint,
        towers_fingerprint=store.towers.fingerprint,
        notes=_NOTES,
        # The reference corpus is in the package.
        places={} if corpus.fingerprint == reference_corpus().fingerprint else {CORPUS: CORPUS_FILE},
    )
    return write_release(content, directory)


def main(report: Callable[[str], None] = print) -> None:
    """Write a development release of the reference corpus."""
    parser = argparse.ArgumentParser(
        prog="python -m creditline.distillation.release.development", description=__doc__
    )
    parser.add_argument("--output", type=Path, required=True, help="directory of the release")
    parser.add_argument(
        "--generator-fingerprint",
        default=_NO_GENERATOR,
        help="fingerprint of the generator that the release names (default: 64 zeros)",
    )
    parser.add_argument(
        "--features", type=Path, default=None, help="directory that tower features are cached in"
    )
    arguments = parser.parse_args()
    store = FeatureStore(Towers.open(), arguments.features, report)
    release = write_development_release(
        arguments.output, reference_corpus(), store, generator_fingerprint=arguments.generator_fingerprint
    )
    report(
        f"{release.directory}: release {release.name!r} of {release.works} works, dimension"
        f" {release.dimension}"
    )


if __name__ == "__main__":
    main()
