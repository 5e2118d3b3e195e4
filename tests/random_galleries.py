"""Galleries of random latents and texts that fit a generator: for tests of code paths, not of pictures."""

from __future__ import annotations

import zlib

import torch
from PIL import Image

from creditline.attribution.attributor import Gallery
from creditline.generator.losses import Examples
from creditline.generator.pipeline import Generator


def random_gallery(generator: Generator, kind: str, count: int) -> Gallery:
    """`count` examples named `kind`-0 and so on; another kind has other numbers."""
    draw = torch.Generator().manual_seed(zlib.crc32(kind.encode()))
    config = generator.unet.config
    latents = torch.randn((count, config.in_channels, config.sample_size, config.sample_size), generator=draw)
    text = torch.randn((count, 7, config.cross_attention_dim), generator=draw)
    ids = tuple(f"{kind}-{number}" for number in range(count))
    pictures = (Image.new("RGB", (8, 8)),) * count
    return Gallery(Examples(ids, latents, text), pictures, ("",) * count, f"{kind} {count}")
