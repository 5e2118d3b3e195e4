"""Small open_clip towers with random weights, in a directory as open_clip saves one."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

SMALL_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def write_small_clip(directory: Path) -> Path:
    """Configuration and weights."""
    torch.manual_seed(0)
    directory.mkdir(exist_ok=True)
    save_file(open_clip.CLIP(**SMALL_CLIP).state_dict(), directory / "open_clip_model.safetensors")
    configuration = {"model_cfg": SMALL_CLIP, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (directory / "open_clip_config.json").write_text(json.dumps(configuration))
    return directory
