"""A small generator with random weights in the true layout: for tests of code paths, not of pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from creditline.generator.assembly import assemble

SIDE = 32


def random_generator(directory: Path, *, seed: int = 0, prediction: str = "v_prediction") -> Path:
    """Assemble a pipeline of 32 × 32 pictures: a VAE that halves three times, a UNet of 0.4 M parameters."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        mid_block_add_attention=False,
    )
    unet = UNet2DConditionModel(
        sample_size=SIDE // 8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=384,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    # As loud as its target and ruled by its prompt, so that forgetting a picture with its prompt can raise
    # its loss whatever the seed: an untrained output is too faint, untrained cross-attention hardly heard.
    with torch.no_grad():
        unet.conv_out.weight.mul_(4.0)
        for name, weight in unet.named_parameters():
            if "attn2.to_out.0.weight" in name:
                weight.mul_(16.0)
    parts = directory.with_name(directory.name + "-parts")
    unet.save_pretrained(parts / "unet")
    vae.save_pretrained(parts / "vae")
    return assemble(directory, unet=parts / "unet", vae=parts / "vae")
