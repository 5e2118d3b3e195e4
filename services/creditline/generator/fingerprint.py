"""The fingerprint of a generator: of what was loaded, not of the files that it was loaded from.

Two directories have one fingerprint exactly when the same pipeline is loaded from them. It covers

- of each model its class, the settings of its configuration that differ from the class's defaults, and its
  tensors by name in float32,
- of the scheduler its class and settings,
- of the tokenizer its vocabulary, merges, special tokens and length, and the tokens that it gives for a few
  texts.

Names of files, formats, shards, paths, versions of libraries and dtypes on disk are not covered.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from creditline.generator.adapters.merging import merged_fingerprint, read_updates
from creditline.generator.adapters.specification import AdapterSpec
from creditline.generator.parts.model_index import PARTS
from creditline.generator.parts.naming import TEXT_PREFIX
from creditline.generator.parts.opening import OpenedPipeline, open_pipeline

_MODELS = ("unet", "vae", "text_encoder")
# Settings of transformers that say where a model came from or how it is stored, not what it computes.
_STORAGE_SETTINGS = {"architectures", "dtype", "torch_dtype", "transformers_version", "model_type"}
# A setting that no class of transformers has, but that the pipeline reads from its text encoder.
_PIPELINE_SETTINGS = {"use_attention_mask"}
_SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
# Texts whose tokens depend on letter case, accents, spaces, digits, punctuation and joined letters.
_PROBES = ("A red Barn, 1892!", "  two\tcats  ", "Café Ünïcode ﬁn", "it's don't", "日本 🎨 x²", "a_b-c/d", "")


_State = tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a generator, and what it is made of."""

    parts: Mapping[str, str]
    """SHA-256 of each part (`unet`, `vae`, `text_encoder`, `tokenizer`, `scheduler`), 64 hex digits."""

    @property
    def whole(self) -> str:
        """SHA-256 over the parts: 64 hex digits."""
        return _digest({part: self.parts[part] for part in PARTS})


# Fingerprints of this process, by the state of the directories' files.
_KNOWN: dict[_State, Fingerprint] = {}


def fingerprint_of(pipeline: Any) -> Fingerprint:
    """Fingerprint of a loaded pipeline, whatever its device.

    Args:
        pipeline: A `StableDiffusionPipeline` in float32.
    """
    models = {name: getattr(pipeline, name) for name in _MODELS}
    return Fingerprint(
        {
            **{name: _digest(_model(model)) for name, model in models.items()},
            "tokenizer": _digest(_tokenizer(pipeline.tokenizer)),
            "scheduler": _digest(_configured(pipeline.scheduler)),
        }
    )


def open_with_fingerprint(directory: Path, *, copy: bool = True) -> tuple[OpenedPipeline, Fingerprint]:
    """Open a pipeline directory, with its fingerprint.

    The fingerprint is computed once in a process for a directory whose files do not change.

    Args:
        directory: The pipeline directory.
        copy: Whether tensors are copied, see `open_pipeline`.

    Raises:
        NotReady: The directory is not a pipeline.
        InvalidInput: The pipeline cannot be loaded.
    """
    state = _state(directory)
    opened = open_pipeline(directory, copy=copy)
    if state not in _KNOWN:
        _KNOWN[state] = fingerprint_of(opened.pipeline)
    return opened, _KNOWN[state]


def directory_fingerprint(directory: Path) -> Fingerprint:
    """Fingerprint of the generator that is loaded from a directory, as `open_with_fingerprint` gives it."""
    return _KNOWN.get(_state(directory)) or open_with_fingerprint(directory, copy=False)[1]


def generator_fingerprint(directory: Path, adapters: Sequence[AdapterSpec] = ()) -> str:
    """Fingerprint of the generator that is loaded from a directory with adapters: 64 hexadecimal digits.

    Args:
        directory: The pipeline directory.
        adapters: LoRA adapters that are merged into its weights.

    Raises:
        NotReady: The directory is not a pipeline, or an adapter does not exist.
        InvalidInput: The pipeline or an adapter cannot be loaded.
    """
    if not adapters:
        return directory_fingerprint(directory).whole
    opened, found = open_with_fingerprint(directory, copy=False)
    return merged_fingerprint(found.whole, read_updates(opened.pipeline, adapters))


def _state(directory: Path) -> _State:
    """What changes when a file of a pipeline is written: path, inode, size and times of each file."""
    paths = [path for part in ("", *PARTS) for path in sorted((directory / part).glob("*")) if path.is_file()]
    found = [(path, path.stat()) for path in paths]
    return tuple(
        (path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in found
    )


def _model(model: Any) -> dict[str, Any]:
    tensors = {name.removeprefix(TEXT_PREFIX): value for name, value in model.state_dict().items()}
    return {**_configured(model), "tensors": {name: _tensor(value) for name, value in tensors.items()}}


def _tensor(tensor: Tensor) -> list[Any]:
    """Shape, and SHA-256 of the values as little-endian float32."""
    values = tensor.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False)
    return [list(tensor.shape), hashlib.sha256(values.reshape(-1).view("u1").data).hexdigest()]


def _configured(part: Any) -> dict[str, Any]:
    """Class of a part, and the settings that differ from the defaults of the class."""
    found, defaults = _settings(part)
    changed = {name: value for name, value in found.items() if value != defaults.get(name, ...)}
    return {"class": type(part).__name__, "settings": changed}


def _settings(part: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of a part and their defaults, both as they come back from JSON."""
    if hasattr(part.config, "to_dict"):
        found, defaults = part.config.to_dict(), type(part.config)().to_dict()
        known = {name for name in defaults if not name.startswith("_")} - _STORAGE_SETTINGS
    else:
        found, parameters = part.config, inspect.signature(type(part).__init__).parameters
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        known = set(parameters)
    known |= _PIPELINE_SETTINGS
    return _plain({name: value for name, value in found.items() if name in known}), _plain(defaults)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def _tokenizer(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer does; how its files spell it depends on the version that saved them."""
    return {
        "vocabulary": tokenizer.get_vocab(),
        "merges": _merges(tokenizer),
        "special": {name: getattr(tokenizer, name, None) for name in _SPECIAL_TOKENS},
        "length": tokenizer.model_max_length,
        "side": tokenizer.padding_side,
        "probes": [tokenizer(text, truncation=True, padding="max_length").input_ids for text in _PROBES],
    }


def _merges(tokenizer: Any) -> list[str]:
    """Merges of byte-pair encoding in their order; empty for other kinds."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", [])]


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
