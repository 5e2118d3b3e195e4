"""The teacher finds generator, corpus and statistics by the release alone, and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.errors import FingerprintMismatch
from creditline.release import write_manifest
from creditline.release.parts import place_in
from creditline.teacher.loading import Loader
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.settings import TeacherSettings
from tests.release.test_manifest import written
from tests.teacher.conftest import Prepared


def release_of(prepared: Prepared, directory: Path, generator: str) -> Path:
    """A release that names the prepared files by their places."""
    places = {
        "generator": prepared.generator_directory,
        "corpus": prepared.corpus_file,
        "teacher": prepared.artifacts,
    }
    parts = {
        name: {"place": place_in(directory, path), "fingerprint": "f" * 64} for name, path in places.items()
    }
    description = {
        **written(directory).description,
        "generator_fingerprint": generator,
        "corpus_name": prepared.corpus.name,
        "corpus_fingerprint": prepared.corpus.fingerprint,
        "parts": parts,
    }
    write_manifest(directory, description)
    return directory


def test_the_release_is_the_only_setting_that_a_teacher_needs(prepared: Prepared, tmp_path: Path) -> None:
    settings = TeacherSettings(release_directory=release_of(prepared, tmp_path, prepared.generator))
    loaded = Loader(settings, TeacherMetrics()).get()
    assert loaded.teacher.generator.fingerprint == prepared.generator
    assert (loaded.corpus.name, loaded.corpus.fingerprint) == ("small", prepared.corpus.fingerprint)


def test_another_generator_in_the_place_that_the_release_names_is_refused(
    prepared: Prepared, tmp_path: Path
) -> None:
    settings = TeacherSettings(release_directory=release_of(prepared, tmp_path, "a" * 64))
    with pytest.raises(FingerprintMismatch, match=rf"made for generator {'a' * 64}, but the one at .* is"):
        Loader(settings, TeacherMetrics()).get()
