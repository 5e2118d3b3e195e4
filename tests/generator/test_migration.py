"""The migration from the fingerprint of files to the fingerprint of what is loaded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from creditline.errors import InvalidInput
from creditline.generator.adapters.specification import AdapterSpec
from creditline.generator.fingerprint import generator_fingerprint
from creditline.generator.migration import former_fingerprint, goes_by, migrate
from creditline.generator.pipeline import Generator
from creditline.release import file_sha256
from creditline.tensor_files import read_arrays, write_arrays
from tests.pipeline_variations import lora_tensors
from tests.pipelines import stable_diffusion_15


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion_15(tmp_path_factory.mktemp("migration") / "generator")


def _artifacts(directory: Path, former: str) -> Path:
    directory.mkdir()
    card, statistics = directory / "model-card.md", directory / "statistics.safetensors"
    card.write_text(f"| generator | `{former}` |\n")
    write_arrays(statistics, {"losses": np.arange(6.0).reshape(2, 3)}, {"generator": former, "loss": "noise"})
    np.save(directory / "vectors.npy", np.frombuffer(former.encode(), dtype=np.uint8))
    files = {name: file_sha256(directory / name) for name in ("model-card.md", "vectors.npy")}
    (directory / "release.json").write_text(json.dumps({"generator_fingerprint": former, "files": files}))
    (directory / "other.json").write_text(json.dumps({"generator": "a" * 64}))
    return directory


def test_artifacts_are_renamed_with_their_hashes_and_keep_all_else(generator: Path, tmp_path: Path) -> None:
    former, today = former_fingerprint(generator), generator_fingerprint(generator)
    directory = _artifacts(tmp_path / "release", former)
    untouched = {name: file_sha256(directory / name) for name in ("vectors.npy", "other.json")}
    changed = migrate(generator, [directory])
    assert [path.name for path in changed] == ["model-card.md", "release.json", "statistics.safetensors"]
    manifest = json.loads((directory / "release.json").read_text())
    assert manifest["generator_fingerprint"] == today
    assert manifest["files"] == {name: file_sha256(directory / name) for name in manifest["files"]}
    assert today in (directory / "model-card.md").read_text()
    arrays, metadata = read_arrays(directory / "statistics.safetensors")
    assert metadata == {"generator": today, "loss": "noise"}
    np.testing.assert_array_equal(arrays["losses"], np.arange(6.0).reshape(2, 3))
    assert untouched == {name: file_sha256(directory / name) for name in untouched}
    assert migrate(generator, [directory]) == []


def test_a_recorded_answer_is_of_a_generator_by_either_fingerprint(generator: Path) -> None:
    with Generator.open(generator) as opened:
        assert [
            goes_by(opened, name)
            for name in (generator_fingerprint(generator), former_fingerprint(generator), "a" * 64)
        ] == [True, True, False]


def test_a_generator_with_an_adapter_is_not_known_by_its_directorys_former_fingerprint(
    generator: Path, tmp_path: Path
) -> None:
    save_file(lora_tensors(), tmp_path / "lora.safetensors")
    with Generator.open(generator, adapters=[AdapterSpec(tmp_path / "lora.safetensors")]) as opened:
        assert goes_by(opened, opened.fingerprint)
        assert not goes_by(opened, former_fingerprint(generator))


def test_a_path_that_does_not_exist_and_damaged_files_are_no_artifacts(
    generator: Path, tmp_path: Path
) -> None:
    (tmp_path / "short.safetensors").write_bytes(b"abc")
    (tmp_path / "huge.safetensors").write_bytes(b"\xff" * 20)
    os.symlink(tmp_path / "gone", tmp_path / "broken.json")
    assert migrate(generator, [tmp_path]) == []
    with pytest.raises(InvalidInput, match="to migrate"):
        migrate(generator, [tmp_path / "missing"])
