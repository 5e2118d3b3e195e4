"""Unusable pipelines, works and weights are refused with a sentence that states the reason."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from creditline.attribution.unlearning.teacher import encode_works
from creditline.corpus.works import Corpus, read_corpus, write_corpus
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, denoising_losses
from creditline.generator.pipeline import Generator


@pytest.fixture
def copied(random_generator_directory: Path, tmp_path: Path) -> Path:
    return shutil.copytree(random_generator_directory, tmp_path / "copy")


def changed(path: Path, **settings: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler"])
def test_a_pipeline_without_one_of_its_parts_names_it(copied: Path, part: str) -> None:
    shutil.rmtree(copied / part)
    with pytest.raises(InvalidInput, match=rf"has no readable {part} "):
        Generator.open(copied)


def test_latents_of_another_size_name_both(copied: Path) -> None:
    changed(copied / "vae" / "config.json", latent_channels=16)
    with pytest.raises(InvalidInput, match="takes latents of 4 channels, but its VAE makes 16"):
        Generator.open(copied)


def test_texts_of_another_width_name_both(copied: Path) -> None:
    changed(copied / "text_encoder" / "config.json", hidden_size=768)
    with pytest.raises(InvalidInput, match="dimension 384, but its text encoder gives 768"):
        Generator.open(copied)


def test_an_unsupported_prediction_type_is_refused_with_the_supported_ones(copied: Path) -> None:
    changed(copied / "scheduler" / "scheduler_config.json", prediction_type="sample")
    with pytest.raises(InvalidInput, match="'sample'; only epsilon and v_prediction"):
        Generator.open(copied)


def test_a_loss_that_is_nan_names_the_work_and_the_timestep(
    random_generator: Generator, small_corpus: Corpus
) -> None:
    works = encode_works(random_generator, small_corpus.works[:3])
    works.latents[1, 0, 0, 0] = torch.nan
    with pytest.raises(InvalidInput, match=rf"'{works.ids[1]}' at timestep 250 is nan"):
        denoising_losses(random_generator, works, Draws(timesteps=2))


def test_a_picture_that_cannot_be_read_names_its_work(small_corpus: Corpus) -> None:
    broken = replace(small_corpus.works[0], thumbnail=small_corpus.works[0].thumbnail[:40])
    with pytest.raises(InvalidInput, match=rf"the picture of work '{broken.id}' cannot be decoded"):
        broken.picture()


@pytest.mark.parametrize("caption", ["", "  "])
def test_a_work_without_a_caption_is_named(small_corpus: Corpus, tmp_path: Path, caption: str) -> None:
    works = (*small_corpus.works[:2], replace(small_corpus.works[2], caption=caption))
    write_corpus(Corpus("three", works), tmp_path / "three.parquet")
    with pytest.raises(InvalidInput, match=rf"work '{works[2].id}' in .* has no caption"):
        read_corpus(tmp_path / "three.parquet")
