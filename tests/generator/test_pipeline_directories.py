"""Pipeline directories that people bring: read with the right fingerprint, or refused in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from creditline.errors import InvalidInput
from creditline.generator.fingerprint import generator_fingerprint
from creditline.generator.pipeline import Generator
from tests.pipeline_variations import BAD, GOOD
from tests.pipelines import stable_diffusion_15


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion_15(tmp_path_factory.mktemp("pipelines") / "plain")


@pytest.fixture
def varied(plain: Path, tmp_path: Path) -> Path:
    return shutil.copytree(plain, tmp_path / "varied")


@pytest.mark.parametrize("kind", [kind for kind, variation in GOOD.items() if variation.same_as == "plain"])
def test_the_same_pipeline_in_other_files_has_the_same_fingerprint(
    plain: Path, varied: Path, kind: str
) -> None:
    GOOD[kind].change(varied)
    assert generator_fingerprint(varied) == generator_fingerprint(plain)


@pytest.fixture(scope="module")
def half(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = shutil.copytree(plain, tmp_path_factory.mktemp("pipelines") / "half")
    GOOD["half precision"].change(directory)
    return directory


@pytest.mark.parametrize("kind", ["fp16 variant", "sharded fp16 variant"])
def test_a_variant_has_the_fingerprint_of_its_values(half: Path, varied: Path, kind: str) -> None:
    GOOD[kind].change(varied)
    assert generator_fingerprint(varied) == generator_fingerprint(half)


@pytest.mark.parametrize(
    "kind", [kind for kind, good in GOOD.items() if good.same_as is None and not good.adapters]
)
def test_other_weights_settings_and_words_have_other_fingerprints(
    plain: Path, half: Path, varied: Path, kind: str
) -> None:
    GOOD[kind].change(varied)
    for other, directory in {"plain": plain, "half precision": half}.items():
        assert (generator_fingerprint(varied) == generator_fingerprint(directory)) is (kind == other)


@pytest.mark.parametrize("kind", [kind for kind, fault in BAD.items() if not fault.adapters])
def test_a_directory_that_is_not_right_is_refused_with_its_file_and_keys(varied: Path, kind: str) -> None:
    fault = BAD[kind]
    fault.change(varied)
    with pytest.raises(InvalidInput) as refused:
        Generator.open(varied)
    sentence = refused.value.message
    assert str(varied / fault.file) in sentence
    assert fault.key in sentence
    assert len(sentence) - len(str(varied)) < 500
    assert "\n" not in sentence


def test_a_generator_has_the_weights_and_pictures_that_diffusers_would_give(varied: Path) -> None:
    theirs = StableDiffusionPipeline.from_pretrained(varied, local_files_only=True, safety_checker=None)
    with Generator.open(varied) as generator:
        for part in ("unet", "vae", "text_encoder"):
            ours, expected = (getattr(each, part).state_dict() for each in (generator.pipeline, theirs))
            assert ours.keys() == expected.keys()
            assert all(torch.equal(ours[name], expected[name]) for name in ours)
        picture = generator.sample(["a red barn"], [3], steps=4, guidance=2.0)[0]
    noise = torch.Generator().manual_seed(3)
    expected_picture = theirs(
        "a red barn", generator=noise, num_inference_steps=4, guidance_scale=2.0
    ).images[0]
    assert picture.tobytes() == expected_picture.tobytes()


def test_a_safety_checker_that_marks_every_picture_is_not_run(plain: Path) -> None:
    with Generator.open(plain) as generator:
        assert generator.pipeline.safety_checker is None
        assert generator.sample(["a red barn"], [0], steps=2)[0].getextrema() != ((0, 0),) * 3


def test_a_lora_file_in_the_root_is_said_not_to_be_applied(
    varied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    GOOD["LoRA file in the root"].change(varied)
    with Generator.open(varied) as generator:
        assert generator.notes == (
            f"{varied / 'pytorch_lora_weights.safetensors'} is a LoRA file, which is not applied",
        )
    assert generator.notes[0] in caplog.text


def test_a_file_changed_in_place_changes_the_fingerprint(varied: Path) -> None:
    before = generator_fingerprint(varied)
    GOOD["v-prediction"].change(varied)
    assert generator_fingerprint(varied) != before
