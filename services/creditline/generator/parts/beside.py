"""Files in a pipeline's root that look as if they were part of the generator, but are not read."""

from __future__ import annotations

from pathlib import Path

from creditline.generator.parts.naming import is_adapter_name
from creditline.generator.parts.weight_files import tensor_names

_EMBEDDINGS = ("learned_embeds.safetensors", "learned_embeds.bin")
_LORA_NAMES = ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin")


def notes_on_files_beside(directory: Path) -> tuple[str, ...]:
    """One sentence for each adapter or embedding file in the root of a pipeline directory.

    Such a file changes nothing: a pipeline directory is read by the folders of its parts.
    """
    notes = []
    for path in sorted(directory.glob("*")):
        if path.name in _EMBEDDINGS:
            notes.append(f"{path} holds learned embeddings of textual inversion, which are not applied")
        elif path.name in _LORA_NAMES or any(map(is_adapter_name, _names(path))):
            notes.append(f"{path} is a LoRA file, which is not applied")
    return tuple(notes)


def _names(path: Path) -> list[str]:
    return tensor_names(path) if path.suffix == ".safetensors" else []
