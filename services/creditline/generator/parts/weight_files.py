"""Weight files of a part: which of a folder's files are read, and the tensors that they hold by name.

As in diffusers and transformers: `.safetensors` before `.bin`, no variant in the name before one (`.fp16.`),
a single file or shards with an index. Other files in the folder are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from creditline.errors import InvalidInput
from creditline.generator.parts.model_index import read_json
from creditline.generator.parts.naming import is_adapter_name, some

_STEMS = {
    ".safetensors": ("diffusion_pytorch_model", "model"),
    ".bin": ("diffusion_pytorch_model", "pytorch_model"),
}
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Stored:
    """One tensor as stored in a file; a safetensors file's pages are read when its values are used."""

    file: Path
    """The file that holds the tensor."""
    tensor: Tensor
    """The tensor, on the CPU, in the file's dtype."""


def read_weights(folder: Path) -> dict[str, Stored]:
    """Read the weights of a part.

    Args:
        folder: Folder of the part in the pipeline directory.

    Returns:
        The tensors by their names in the files.

    Raises:
        InvalidInput: There are no weights, a file is incomplete or is no weight file, an index and its shards
            contradict each other, or the folder holds an adapter.
    """
    _refuse_adapter_files(folder)
    chosen = _chosen_file(folder)
    if chosen.suffix == ".json":
        return _read_shards(chosen)
    return read_file(chosen)


def read_file(path: Path) -> dict[str, Stored]:
    """Read a `.safetensors` or `.bin` file (the latter by weights-only loading): tensors by name.

    Raises:
        InvalidInput: The file is incomplete, is no weight file or holds anything but tensors.
    """
    _refuse_pointer(path)
    tensors = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    return {name: Stored(path, tensor) for name, tensor in tensors.items()}


def tensor_names(path: Path) -> list[str]:
    """Names in the header of a safetensors file; empty where the file cannot be read."""
    try:
        with safe_open(path, framework="pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError):
        return []


def _chosen_file(folder: Path) -> Path:
    """The single file or shard index that is read."""
    present = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [path.name for path in present if path.is_file()]
    for suffix, stems in _STEMS.items():
        for stem in stems:
            plain = _plain(names, stem, suffix)
            if plain is not None:
                return folder / plain
    variants = {
        variant: name
        for suffix, stems in reversed(_STEMS.items())
        for stem in stems
        for name in names
        if (variant := _variant(name, stem, suffix))
    }
    if len(variants) == 1:
        return folder / next(iter(variants.values()))
    if variants:
        raise InvalidInput(
            f"{folder} holds weights of several variants ({', '.join(sorted(variants))}) and none without a"
            " variant's name; keep the files of one of them",
            field="generator",
        )
    raise InvalidInput(
        f"{folder} holds no weights (a file such as {_STEMS['.safetensors'][0]}.safetensors,"
        " model.safetensors or pytorch_model.bin); it holds"
        f" {some(path.name for path in present) or 'no files'}",
        field="generator",
    )


def _plain(names: Iterable[str], stem: str, suffix: str) -> str | None:
    """The index or file without a variant: diffusers prefers an index, transformers a single file."""
    single, index = f"{stem}{suffix}", f"{stem}{suffix}.index.json"
    order = (index, single) if stem.startswith("diffusion") else (single, index)
    return next((name for name in order if name in names), None)


def _variant(name: str, stem: str, suffix: str) -> str | None:
    """The variant of a single file or index such as `model.fp16.safetensors`; None for any other file."""
    for before, after in (
        (f"{stem}{suffix}.index.", ".json"),
        (f"{stem}{suffix}.", ".index.json"),
        (f"{stem}.", suffix),
    ):
        middle = name[len(before) : -len(after)]
        if name == f"{before}{middle}{after}" and middle and not set(middle) & set(". ()-"):
            return None if middle == "index" else middle
    return None


def _read_shards(index: Path) -> dict[str, Stored]:
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(file, str) for file in named.values()):
        raise InvalidInput(f"{index} has no weight_map; copy the folder again", field="generator")
    held: dict[str, Stored] = {}
    for file in sorted(set(named.values())):
        shard = index.parent / Path(file).name
        if not shard.is_file():
            lost = [name for name, holder in named.items() if holder == file]
            raise InvalidInput(
                f"{index} names the shard {file}, which is missing, for {some(lost)}; copy the folder again",
                field="generator",
            )
        for name, stored in read_file(shard).items():
            if named.get(name) != file:
                raise InvalidInput(
                    f"{shard} holds {some(_unnamed(stored.file, named, file))}, which {index.name} does not"
                    " name there; copy the folder again",
                    field="generator",
                )
            held[name] = stored
    lacking = [name for name in named if name not in held]
    if lacking:
        raise InvalidInput(
            f"{index} names {some(lacking)}, which no shard holds; copy the folder again", field="generator"
        )
    return held


def _unnamed(shard: Path, named: dict[str, str], file: str) -> list[str]:
    return [name for name in read_file(shard) if named.get(name) != file]


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:  # damaged headers and dtypes that torch lacks raise different errors
        raise InvalidInput(
            f"{path} is incomplete or no safetensors file ({error}); copy it again", field="generator"
        ) from None


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what weights-only loading raises depends on the damage
        raise InvalidInput(
            f"{path} is incomplete, or holds more than weights and is not unpickled ({type(error).__name__});"
            " copy it again, or save the pipeline as .safetensors",
            field="generator",
        ) from None
    others = (
        [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
        if isinstance(content, dict)
        else [type(content).__name__]
    )
    if others:
        raise InvalidInput(
            f"{path} holds {some(others)} beside tensors; save the part with `save_pretrained`",
            field="generator",
        )
    return dict(content)


def _refuse_pointer(path: Path) -> None:
    try:
        with path.open("rb") as opened:
            beginning = opened.read(len(_POINTER))
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}); let this user read it", field="generator"
        ) from None
    if beginning == _POINTER:
        raise InvalidInput(
            f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
            field="generator",
        )


def _refuse_adapter_files(folder: Path) -> None:
    """An adapter in a part's folder is applied by some loaders and left out by others: neither is guessed."""
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        keys = [name for name in tensor_names(path) if is_adapter_name(name)] if _is_extra(path) else []
        if path.name in _ADAPTER_FILES or keys:
            raise InvalidInput(
                f"{path} is an adapter inside the {folder.name}'s folder"
                f"{f' ({some(keys)})' if keys else ''}; move it out of the pipeline directory, or merge it"
                " into the weights",
                field="generator",
            )


def _is_extra(path: Path) -> bool:
    return path.suffix == ".safetensors" and not any(
        path.name.startswith(stem) for stem in _STEMS[".safetensors"]
    )
