"""`model_index.json`: the pipeline's class, and the class of each of its parts."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from diffusers import AsymmetricAutoencoderKL, AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from creditline.errors import InvalidInput, NotReady

MODEL_INDEX = "model_index.json"
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
# Pipelines with the parts of text-to-image Stable Diffusion 1.x and 2.x.
_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
_LIBRARIES = ("diffusers", "transformers")
# Classes that a part's class must be, or be derived from.
_KINDS: dict[str, tuple[type, ...]] = {
    "unet": (UNet2DConditionModel,),
    "vae": (AutoencoderKL, AsymmetricAutoencoderKL),
    "text_encoder": (PreTrainedModel,),
    "tokenizer": (PreTrainedTokenizerBase,),
    "scheduler": (SchedulerMixin,),
}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a pipeline directory.

    Raises:
        InvalidInput: The file cannot be read, or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{path} cannot be read ({error}); copy it again from where the pipeline comes from",
            field="generator",
        ) from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} holds no JSON object; copy it again", field="generator")
    return content


def read_part_json(folder: Path, file: str) -> dict[str, Any]:
    """Read a configuration of a part, see `read_json`; the error names the part."""
    try:
        return read_json(folder / file)
    except InvalidInput as error:
        raise InvalidInput(
            f"the pipeline in {folder.parent} has no readable {folder.name} ({error.message});"
            f" a StableDiffusionPipeline has {', '.join(PARTS)}",
            field="generator",
        ) from None


def part_classes(directory: Path) -> dict[str, Any]:
    """Classes of the parts that `model_index.json` names, by part.

    Raises:
        NotReady: The directory is not a pipeline.
        InvalidInput: It is a file, a pipeline of another kind, or a part's class is unknown or another one.
    """
    if directory.is_file():
        raise InvalidInput(
            f"{directory} is a file, but a generator is a directory; convert a single-file checkpoint with"
            " diffusers: StableDiffusionPipeline.from_single_file(FILE).save_pretrained(DIRECTORY)",
            field="generator",
        )
    if not (directory / MODEL_INDEX).is_file():
        found = f"it holds no {MODEL_INDEX}" if directory.is_dir() else "there is no such directory"
        raise NotReady(
            f"no generator at {directory}: {found}; give the directory of a StableDiffusionPipeline as"
            " diffusers saves it (--generator, or CREDITLINE_GENERATOR_DIRECTORY), or assemble the reference"
            " one with `creditline generator assemble`",
            field="generator",
        )
    index = read_json(directory / MODEL_INDEX)
    name = index.get("_class_name", _PIPELINES[0])
    if name not in _PIPELINES:
        raise InvalidInput(
            f"{directory / MODEL_INDEX} names a {name}; only {' and '.join(_PIPELINES)}, with the parts of"
            " Stable Diffusion 1.x and 2.x, are supported",
            field="generator",
        )
    return {part: _part_class(directory, part, index.get(part)) for part in PARTS}


def _part_class(directory: Path, part: str, entry: object) -> Any:
    if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(name, str) for name in entry):
        raise InvalidInput(
            f"{directory / MODEL_INDEX} names no {part} ({part}: {json.dumps(entry)}); a"
            f" StableDiffusionPipeline has {', '.join(PARTS)}",
            field="generator",
        )
    library, name = entry
    found = getattr(importlib.import_module(library), name, None) if library in _LIBRARIES else None
    if not isinstance(found, type):
        raise InvalidInput(
            f"{directory / MODEL_INDEX} names {library}.{name} as {part}, which is no class of the installed"
            f" {' or '.join(_LIBRARIES)}; code of a pipeline's own is never run",
            field="generator",
        )
    if not issubclass(found, _KINDS[part]):
        raise InvalidInput(
            f"{directory / MODEL_INDEX} names {library}.{name} as {part}, which is no"
            f" {' or '.join(kind.__name__ for kind in _KINDS[part])}; only the parts of Stable Diffusion 1.x"
            " and 2.x are supported",
            field="generator",
        )
    return found
