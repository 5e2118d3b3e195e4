"""Opening of a pipeline directory: its parts, checked and put together as a diffusers pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline

from creditline.generator.parts.agreement import refuse_misfits, refuse_other_text_vectors
from creditline.generator.parts.beside import notes_on_files_beside
from creditline.generator.parts.model_index import part_classes
from creditline.generator.parts.modules import empty_module, fill
from creditline.generator.parts.scheduling import open_scheduler
from creditline.generator.parts.tokenizing import open_tokenizer

_MODULES = ("unet", "vae", "text_encoder")


@dataclass(frozen=True)
class OpenedPipeline:
    """A pipeline as read from its directory."""

    pipeline: Any
    """The `StableDiffusionPipeline` in float32 on the CPU, without safety checker."""
    notes: tuple[str, ...]
    """What the directory holds but the pipeline does not use, one sentence each."""


def open_pipeline(directory: Path, *, copy: bool = True) -> OpenedPipeline:
    """Read a pipeline directory in the layout of Stable Diffusion 1.x or 2.x.

    The safety checker, its feature extractor and an image encoder are never loaded.

    Args:
        directory: The pipeline directory.
        copy: Whether tensors are copied; otherwise they may be views of the files, see `modules.fill`.

    Raises:
        NotReady: The directory is not a pipeline.
        InvalidInput: A part is missing, damaged, of another kind, or does not fit the others.
    """
    kinds = part_classes(directory)
    parts = {part: empty_module(directory / part, kinds[part]) for part in _MODULES}
    scheduler = open_scheduler(directory / "scheduler", kinds["scheduler"])
    tokenizer = open_tokenizer(directory / "tokenizer", kinds["tokenizer"])
    refuse_misfits(directory, **parts, tokenizer=tokenizer)
    pipeline = StableDiffusionPipeline(
        **{part: fill(module, directory / part, copy=copy) for part, module in parts.items()},
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    refuse_other_text_vectors(directory, pipeline)
    pipeline.set_progress_bar_config(disable=True)
    return OpenedPipeline(pipeline, notes_on_files_beside(directory))
