"""What the services run on: generator, teacher's statistics and release, as the package carries them."""

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
    """One generator with its corpus and release; `settings` are what a service is told of them."""

    generator_directory: Path
    corpus: Corpus
    release: Release
    settings: Mapping[str, str]


def reference_deployment(directory: Path) -> Deployment:
    """All that the package carries; only the pipeline directory is put together."""
    generator = assemble_reference(directory / "generator")
    settings = {"CREDITLINE_GENERATOR_DIRECTORY": str(generator)}
    return Deployment(generator, reference_corpus(), open_release(reference_release_directory()), settings)
