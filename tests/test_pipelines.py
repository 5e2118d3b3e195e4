"""The tiny pipelines of tests: the layout that Stable Diffusion 1.5 is published in."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from tests.pipelines import PROMPT_TOKENS, TEXT_DIMENSION, stable_diffusion_15


def test_diffusers_reads_a_tiny_pipeline_whose_safety_checker_marks_every_picture(tmp_path: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        stable_diffusion_15(tmp_path / "tiny"), local_files_only=True
    )
    marked = pipeline("a red barn", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[
        0
    ]
    assert (marked.size, marked.getextrema()) == ((32, 32), ((0, 0),) * 3)
    vectors, _ = pipeline.encode_prompt(["a red barn", "two cats"], "cpu", 1, False)
    assert vectors.shape == (2, PROMPT_TOKENS, TEXT_DIMENSION)
    assert (vectors[0] - vectors[1]).std() > 0.1
