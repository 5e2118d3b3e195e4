"""Safetensors files: named arrays with a few words about them, written in one step.

All safetensors files of ours are written here. safetensors 0.8.0's numpy writer takes an array's memory as it
lies, whatever its strides, and so writes other numbers for a transposed or strided array, silently; its
files are readable only by their owner. Both are mended here. Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from creditline.files import replace_file

if TYPE_CHECKING:
    from torch import Tensor


def write_arrays(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    words: Mapping[str, str] | None = None,
    *,
    durable: bool = False,
) -> None:
    """Create or replace a safetensors file of numpy arrays.

    Args:
        path: The file; its directory must exist.
        arrays: By name, of any shape, strides and byte order.
        words: Metadata. With several entries, safetensors writes them in another order each time.
        durable: As in `replace_file`.

    Raises:
        OSError: When the directory is missing or cannot be written to.
        safetensors.SafetensorError: For arrays of a dtype that safetensors has no name for.
    """
    # Not ascontiguousarray, which makes a scalar an array of shape (1,).
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replace_file(path, durable=durable) as draft:
        save_file(ordered, draft, metadata=dict(words or {}))


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read all arrays of a safetensors file by name, and its metadata.

    Raises:
        FileNotFoundError: When there is no such file.
        safetensors.SafetensorError: When it is cut off or is no safetensors file.
    """
    with safe_open(path, framework="numpy") as opened:
        words: dict[str, str] = opened.metadata() or {}
        return {name: opened.get_tensor(name) for name in opened.keys()}, words  # noqa: SIM118


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    words: Mapping[str, str] | None = None,
    *,
    durable: bool = False,
) -> None:
    """Create or replace a safetensors file of torch tensors.

    Args:
        path: The file; its directory must exist.
        tensors: By name, of any strides.
        words: Metadata, as in `write_arrays`.
        durable: As in `replace_file`.

    Raises:
        OSError: When the directory is missing or cannot be written to.
        RuntimeError: When two tensors share memory.
    """
    from safetensors.torch import save_file as save_torch_file

    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replace_file(path, durable=durable) as draft:
        save_torch_file(contiguous, draft, metadata=None if words is None else dict(words))
