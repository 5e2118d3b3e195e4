"""The teacher finds generator, corpus and statistics by the release alone, and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.release import write_manifest
from creditline.release.parts import place_in
from creditline.teacher.loading import Loader
from creditline.teacher.metrics import TeacherMetrics
from creditline.teacher.settings import TeacherSettings
from tests.release.test_manifest import written
from tests.teacher.conftest import Prepared


def release_of(prepared: Prepared, directory: Path, generator: str, adapter: Path | None = None) -> Path:
    """A release that names the prepared files by their places, and an adapter of the generator."""
    places = {
        "generator": prepared.generator_directory,
        "corpus": prepared.corpus_file,
        "teacher": prepared.artifacts,
    }
    parts: dict[str, dict[str, Any]] = {
        name: {"place": place_in(directory, path), "fingerprint": "f" * 64} for name, path in places.items()
    }
    if adapter is not None:
        parts["generator"] |= {"adapters": [place_in(directory, adapter)]}
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


def test_adapters_of_the_settings_go_with_their_generator_and_those_of_the_release_with_its_own(
    prepared: Prepared, tmp_path: Path
) -> None:
    """Neither file is an adapter, so that the refusal names the one that was read."""
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    for file in (ours, theirs):
        file.write_bytes(b"no adapter")
    release = release_of(prepared, tmp_path, prepared.generator, theirs)
    for generator, read in ((prepared.generator_directory, ours), (None, theirs)):
        settings = TeacherSettings(
            release_directory=release, generator_directory=generator, generator_adapters=str(ours)
        )
        with pytest.raises(InvalidInput, match=read.name):
            Loader(settings, TeacherMetrics()).get()
