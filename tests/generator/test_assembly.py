"""The pipeline directory: its layout, and a fingerprint that changes with what is loaded from it."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from creditline.errors import NotReady
from creditline.generator.assembly import PROMPT_TOKENS, assemble
from creditline.generator.fingerprint import generator_fingerprint
from creditline.generator.pipeline import Generator

_PARTS = {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}


def test_the_directory_has_stable_diffusions_layout_and_no_pickles(random_generator_directory: Path) -> None:
    assert {path.name for path in random_generator_directory.iterdir()} == {*_PARTS, "model_index.json"}
    index = json.loads((random_generator_directory / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index.keys() > _PARTS
    weights = [path for path in random_generator_directory.rglob("*") if path.stat().st_size > 500_000]
    assert {path.suffix for path in weights} == {".safetensors"}


def test_prompts_are_padded_to_the_trained_length_and_padding_is_masked(random_generator: Generator) -> None:
    short, long = random_generator.prompt_vectors(["a cat", "very " * 60])
    assert short.shape == long.shape == (PROMPT_TOKENS, 384)
    assert random_generator.pipeline.text_encoder.config.use_attention_mask is True


def test_an_incomplete_assembly_is_refused_and_leaves_the_directory_unchanged(
    random_generator_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator" / "kept").touch()
    with pytest.raises(NotReady, match="creditline generator train"):
        assemble(tmp_path / "generator", unet=random_generator_directory / "unet", vae=tmp_path / "no-vae")
    assert (tmp_path / "generator" / "kept").exists()


def _parts(generator: Path) -> dict[str, Path]:
    return {"unet": generator / "unet", "vae": generator / "vae"}


def test_a_directory_with_the_same_files_is_left_unchanged_because_a_process_may_read_it(
    random_generator_directory: Path, tmp_path: Path
) -> None:
    parts, directory = _parts(random_generator_directory), tmp_path / "generator"
    first = assemble(directory, **parts).stat().st_ino
    assert assemble(directory, **parts).stat().st_ino == first
    (directory / "unet" / "config.json").write_text("{}")
    assert assemble(directory, **parts).stat().st_ino != first
    assert generator_fingerprint(directory) == generator_fingerprint(random_generator_directory)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["generator"]


def test_concurrent_assemblies_of_one_directory_always_leave_it_complete(
    random_generator_directory: Path, tmp_path: Path
) -> None:
    expected = _files(random_generator_directory)

    def assemble_often(_: int) -> None:
        for _ in range(3):
            directory = assemble(tmp_path / "generator", **_parts(random_generator_directory))
            assert _files(directory) == expected

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(assemble_often, range(3))) == [None] * 3


def _files(directory: Path) -> dict[str, int]:
    """The size of every file, by its path."""
    return {
        str(path.relative_to(directory)): path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def copied(random_generator_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_generator_directory, tmp_path / "copied"))


def test_a_copy_has_the_same_fingerprint(random_generator_directory: Path, copied: Path) -> None:
    fingerprint = generator_fingerprint(random_generator_directory)
    assert len(fingerprint) == 64
    assert generator_fingerprint(copied) == fingerprint


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_one_changed_weight_changes_the_fingerprint(copied: Path, part: str) -> None:
    before = generator_fingerprint(copied)
    path = next((copied / part).glob("*.safetensors"))
    weights = load_file(path)
    name = next(name for name, value in weights.items() if value.is_floating_point())
    weights[name].view(-1)[0] += 1.0
    save_file(weights, path, metadata={"format": "pt"})
    assert generator_fingerprint(copied) != before


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("scheduler/scheduler_config.json", "beta_end", 0.013),
        ("tokenizer/tokenizer_config.json", "model_max_length", 16),
        ("text_encoder/config.json", "use_attention_mask", False),
        ("unet/config.json", "act_fn", "gelu"),
    ],
)
def test_a_changed_setting_changes_the_fingerprint_but_a_version_does_not(
    copied: Path, file: str, name: str, value: object
) -> None:
    before = generator_fingerprint(copied)
    path = copied / file
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "_diffusers_version": "9.9.9", "transformers_version": "9.9.9"}))
    assert generator_fingerprint(copied) == before
    path.write_text(json.dumps({**content, name: value}))
    assert generator_fingerprint(copied) != before


def test_a_directory_that_is_no_pipeline_is_refused_with_what_to_do(tmp_path: Path) -> None:
    remedy = r"--generator, or CREDITLINE_GENERATOR_DIRECTORY.*creditline generator assemble"
    with pytest.raises(NotReady, match=rf"it holds no model_index\.json; .*{remedy}"):
        generator_fingerprint(tmp_path)
    with pytest.raises(NotReady, match=rf"there is no such directory; .*{remedy}"):
        generator_fingerprint(tmp_path / "absent")


def test_weights_are_opened_in_single_precision_and_frozen(random_generator: Generator) -> None:
    parameters = list(random_generator.unet.parameters())
    assert {parameter.dtype for parameter in parameters} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in parameters)
