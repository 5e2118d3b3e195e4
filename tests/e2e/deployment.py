"""Artifacts of the services under test: the package's generator, teacher's statistics and release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from creditline.corpus.works import Corpus
from creditline.generator.assembly import assemble_reference
from creditline.generator.reference import reference_corpus
from creditline.release import Release, open_release, reference_release_directory


@dataclass(frozen=True)
class Deployment:
    """A generator with its corpus and release; `settings` are the services' settings for them."""

    generator_directory: Path
    corpus: Corpus
    release: Release
    settings: Mapping[str, str]


def reference_deployment(directory: Path) -> Deployment:
    """The package's own artifacts; only the pipeline directory is assembled."""
    generator = assemble_reference(directory / "generator")
    settings = {"CREDITLINE_GENERATOR_DIRECTORY": str(generator)}
    return Deployment(generator, reference_corpus(), open_release(reference_release_directory()), settings)
