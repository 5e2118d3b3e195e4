"""The UNet's training task: its attention, its timesteps, and training continued from given weights."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from creditline.generator.denoiser import (
    FullPrecisionAttention,
    LatentSet,
    UnetTask,
    build_unet,
    spread_timesteps,
)


@pytest.fixture
def latent_file(tmp_path: Path) -> Path:
    random = torch.Generator().manual_seed(2)
    signal = torch.linspace(1.0, 0.0, 1000)
    data = LatentSet(
        latents=torch.randn((2, 6, 16, 8, 8), generator=random),
        captions=torch.randn((6, 24, 384), generator=random),
        titles=torch.randn((6, 24, 384), generator=random),
        empty=torch.zeros(24, 384),
        signal=signal,
        noise=(1.0 - signal**2).sqrt(),
    )
    path = tmp_path / "latents.safetensors"
    save_file({field.name: getattr(data, field.name) for field in fields(data)}, path)
    return path


def test_attention_in_full_precision_gives_what_the_pipeline_computes() -> None:
    unet = build_unet().eval()
    random = torch.Generator().manual_seed(0)
    latents = torch.randn((2, 16, 8, 8), generator=random)
    text = torch.randn((2, 24, 384), generator=random)
    with torch.no_grad():
        wanted = unet(latents, 500, text).sample
        unet.set_attn_processor(FullPrecisionAttention())
        found = unet(latents, 500, text).sample
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_each_part_of_the_schedule_gets_one_timestep() -> None:
    timesteps = spread_timesteps(1000, 50, torch.Generator().manual_seed(1))
    assert torch.equal(timesteps // 20, torch.arange(50))
    many = torch.cat([spread_timesteps(1000, 50, torch.Generator().manual_seed(seed)) for seed in range(400)])
    assert float(many.float().mean()) == pytest.approx(499.5, abs=2.0)
    assert 0 <= int(many.min()) < 20 <= 980 <= int(many.max()) < 1000


def test_another_stretch_starts_from_the_weights_it_was_given(latent_file: Path, tmp_path: Path) -> None:
    unet = build_unet()
    unet.save_pretrained(tmp_path / "unet")
    task = UnetTask(latent_file, tmp_path / "unet")
    task.open()
    going_on = task.build()
    assert all(torch.equal(value, going_on.state_dict()[name]) for name, value in unet.state_dict().items())
    loss = task.loss(going_on, torch.Generator().manual_seed(0), 4)
    again = task.loss(going_on, torch.Generator().manual_seed(0), 4)
    assert loss.item() == again.item() > 0.1
    assert loss.dtype == torch.float32
