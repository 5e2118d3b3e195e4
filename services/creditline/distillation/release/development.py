"""A release with an untrained encoder, for tests and for work on the services: it ranks as raw features do.

`python -m creditline.distillation.release.development --output DIR` writes one. It states no figures.
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
from creditline.release import Release
from creditline.towers.towers import Towers

_NAME = "development"
_NO_GENERATOR = "0" * 64
# Nothing below this cosine counts, and a cosine of 1 counts 1: near enough to tell works apart.
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
    """Write a release of `corpus` with real towers and an encoder at its initial weights."""
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
    )
    return write_release(content, directory)


def main(report: Callable[[str], None] = print) -> None:
    """Write a development release of the reference corpus."""
    parser = argparse.ArgumentParser(
        prog="python -m creditline.distillation.release.development", description=__doc__
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--generator-fingerprint", default=_NO_GENERATOR)
    parser.add_argument(
        "--features", type=Path, default=None, help="where tower features are kept between runs"
    )
    given = parser.parse_args()
    store = FeatureStore(Towers.open(), given.features, report)
    release = write_development_release(
        given.output, reference_corpus(), store, generator_fingerprint=given.generator_fingerprint
    )
    report(
        f"{release.directory}: release {release.name!r} of {release.works} works, {release.dimension} wide"
    )


if __name__ == "__main__":
    main()
