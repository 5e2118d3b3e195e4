"""A release finds its corpus, generator, statistics and towers, or says what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from creditline.errors import NotReady
from creditline.release import Release, open_release, packaged_release_directory, write_manifest
from creditline.release.parts import (
    corpus_of,
    corpus_place,
    default_generator_directory,
    generator_adapters,
    generator_place,
    place_in,
    teacher_place,
    tower_place,
    towers_of,
)
from tests.release.test_manifest import written


def part(place: str, **more: Any) -> dict[str, Any]:
    return {"place": place, "fingerprint": "f" * 64, **more}


def with_parts(directory: Path, **parts: dict[str, Any]) -> Release:
    directory.mkdir(parents=True)
    return write_manifest(directory, {**written(directory).description, "parts": parts})


def test_the_packaged_release_needs_no_places() -> None:
    release = open_release(packaged_release_directory())
    assert (corpus_place(release), generator_place(release), teacher_place(release)) == (None, None, None)
    assert towers_of(release) == "embedded"
    assert set(release.work_ids()) <= set(corpus_of(release).ids)


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        (corpus_place, "has its own corpus bbbb.*set CREDITLINE_CORPUS_FILE"),
        (generator_place, "has its own generator aaaa.*set CREDITLINE_GENERATOR_DIRECTORY"),
        (teacher_place, "has its own teacher's statistics.*creditline teacher prepare"),
    ],
)
def test_another_release_that_names_no_place_is_refused(place: Any, remedy: str, tmp_path: Path) -> None:
    release = written(tmp_path)
    with pytest.raises(NotReady, match=remedy):
        place(release)
    assert place(release, tmp_path) == tmp_path


def test_parts_are_read_back_and_found_beside_and_inside_the_release(tmp_path: Path) -> None:
    generator = tmp_path / "models" / "my-sd"
    generator.mkdir(parents=True)
    directory = tmp_path / "releases" / "mine"
    place = place_in(directory, generator)
    assert place == "../../models/my-sd"
    release = with_parts(directory, generator=part(place), teacher=part("teacher"))
    (directory / "teacher").mkdir()
    assert open_release(directory) == release
    assert generator_place(release) == generator
    assert teacher_place(release) == directory / "teacher"


@pytest.mark.parametrize("into", ["moved/my-sd", "moved/mine/my-sd"])
def test_a_release_that_was_moved_finds_a_generator_moved_with_it(tmp_path: Path, into: str) -> None:
    with_parts(tmp_path / "releases" / "mine", generator=part("../../models/my-sd"))
    shutil.copytree(tmp_path / "releases" / "mine", tmp_path / "moved" / "mine")
    moved = open_release(tmp_path / "moved" / "mine")
    with pytest.raises(
        NotReady, match=r"names its generator at .*models/my-sd, but nothing is there"
    ) as raised:
        generator_place(moved)
    assert "CREDITLINE_GENERATOR_DIRECTORY" in raised.value.message
    (tmp_path / into).mkdir()
    assert generator_place(moved) == tmp_path / into


def test_adapters_are_found_like_the_generator_and_keep_their_strengths(tmp_path: Path) -> None:
    (tmp_path / "style.safetensors").touch()
    (tmp_path / "base").mkdir()
    stated = part("../base", adapters=["../style.safetensors:0.8", "../style.safetensors"])
    release = with_parts(tmp_path / "mine", generator=stated)
    file = tmp_path / "style.safetensors"
    assert generator_adapters(release) == (f"{file}:0.8", str(file))
    assert generator_adapters(release, listed=["own"]) == (f"{file}:0.8", str(file))
    assert generator_adapters(release, tmp_path / "another") == ()
    assert generator_adapters(release, tmp_path / "another", ["own"]) == ("own",)


def test_the_reference_generator_is_assembled_in_the_users_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_generator_directory() == tmp_path / "creditline" / "generator"


@pytest.mark.parametrize("suffix", ["", "+timm:vit@{}/image.safetensors#224", "+no-layout"])
@pytest.mark.parametrize("text", ["ViT-B-32@{}/clip.safetensors", "{}/towers", "embedded"])
def test_towers_keep_their_meaning_from_wherever_the_release_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, suffix: str
) -> None:
    (tmp_path / "towers").mkdir()
    monkeypatch.chdir(tmp_path)
    here = (text + suffix).format(*["."] * 2)
    release = with_parts(
        tmp_path / "releases" / "mine", towers=part(tower_place(Path("releases/mine"), here))
    )
    monkeypatch.chdir("/")
    pieces = towers_of(release).split("+")
    expected = (text + suffix).format(tmp_path, tmp_path).split("+")
    assert [Path(a.partition("@")[2] or a).resolve() for a in pieces] == [
        Path(b.partition("@")[2] or b).resolve() for b in expected
    ]
    assert towers_of(release, "chosen") == "chosen"
