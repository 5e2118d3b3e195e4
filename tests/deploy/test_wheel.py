"""The wheel in the images holds what the source tree holds: the fast core of `make check-images`."""

from __future__ import annotations

import pytest

from tests.deploy.image_build import Step, contents, image_wheel, steps, tracked_files
from tests.deploy.image_programs import IMAGES, extra_of
from tests.deploy.manifests import REPOSITORY

_SOURCE_ROOT = "services/"
# Files of the source tree that the wheel does not have, and why.
LEFT_OUT: dict[str, str] = {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(image_wheel(IMAGES[0], tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def source() -> dict[str, bytes]:
    names = tracked_files("services/creditline")
    return {name.removeprefix(_SOURCE_ROOT): (REPOSITORY / name).read_bytes() for name in names}


def test_every_file_of_the_source_tree_is_in_the_wheel(
    wheel: dict[str, bytes], source: dict[str, bytes]
) -> None:
    assert "creditline/corpus/openclipart.parquet" in source
    assert sorted(set(source) - set(wheel) - set(LEFT_OUT)) == []
    assert set(LEFT_OUT) <= set(source)


def test_every_file_in_the_wheel_is_that_of_the_source_tree(
    wheel: dict[str, bytes], source: dict[str, bytes]
) -> None:
    own = {name for name in wheel if ".dist-info/" not in name}
    assert sorted(own - set(source)) == []
    assert [name for name in sorted(own) if wheel[name] != source[name]] == []


def test_all_images_are_built_in_the_same_steps() -> None:
    first, *others = ([_without_extra(step, image) for step in steps(f"build-{image}")] for image in IMAGES)
    assert all(other == first for other in others)


def _without_extra(step: Step, image: str) -> Step:
    return Step(step.instruction, step.text.replace(f"[{extra_of(image)},traces]", "[traces]"))
