"""What the services run on: the reference generator and release of the package, or small ones made here.

The small ones are a random generator and an untrained encoder on forty works. They have the same form, so
every promise that is not about quality holds for them too; a checkout without trained weights uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from creditline.attribution.teacher import prepare_teacher
from creditline.corpus.works import Corpus, write_corpus
from creditline.generator.assembly import assemble_reference, reference_weights
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from creditline.release import MANIFEST, Release, open_release, reference_release_directory
from creditline.teacher.settings import reference_artifacts
from generator_factory import random_generator

_SMALL_WORKS = 40
_SMALL_WIDTH = 32


@dataclass(frozen=True)
class Deployment:
    """One generator with its corpus, its teacher's statistics and a release; `settings` name them all."""

    generator_directory: Path
    corpus: Corpus
    release: Release
    settings: Mapping[str, str]


def reference_is_shipped() -> bool:
    """Whether generator, statistics and release of the package are all there."""
    needed = (
        reference_weights() / "unet" / "config.json",
        reference_artifacts() / "statistics.safetensors",
        reference_release_directory() / MANIFEST,
    )
    return all(path.is_file() for path in needed)


def reference_deployment(directory: Path) -> Deployment:
    """All that the package carries; only the pipeline directory is put together."""
    generator = assemble_reference(directory / "generator")
    settings = {"CREDITLINE_GENERATOR_DIRECTORY": str(generator)}
    return Deployment(generator, reference_corpus(), open_release(reference_release_directory()), settings)


def small_deployment(directory: Path) -> Deployment:
    """Forty works under a random generator, and the release of an untrained encoder."""
    from creditline.distillation.development import write_development_release
    from creditline.distillation.features import FeatureStore
    from creditline.distillation.towers import Towers

    whole = reference_corpus()
    corpus = whole.subset(whole.ids[:: len(whole) // _SMALL_WORKS][:_SMALL_WORKS], name="small")
    write_corpus(corpus, directory / "small.parquet")
    generator_directory = random_generator(directory / "generator")
    with Generator.open(generator_directory) as generator:
        prepare_teacher(generator, corpus, directory / "artifacts", lambda line: None)
        store = FeatureStore(Towers.open(), None, lambda line: None)
        release = write_development_release(
            directory / "release",
            corpus,
            store,
            generator_fingerprint=generator.fingerprint,
            width=_SMALL_WIDTH,
        )
    settings = {
        "CREDITLINE_GENERATOR_DIRECTORY": str(generator_directory),
        "CREDITLINE_TEACHER_ARTIFACTS": str(directory / "artifacts"),
        "CREDITLINE_CORPUS_FILE": str(directory / "small.parquet"),
    }
    return Deployment(generator_directory, corpus, release, settings)
