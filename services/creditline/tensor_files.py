"""Safetensors files: named arrays with string metadata, replaced atomically.

The package writes all its safetensors files through this module. The numpy writer of safetensors 0.8.0
ignores an array's strides and silently writes wrong numbers for a transposed or strided array; its files are
readable only by their owner; several entries of metadata come in another order each time. This module
corrects all three, so the same content gives the same bytes. Importing it does not import torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from creditline.errors import InvalidInput, NotReady
from creditline.files import replace_file

if TYPE_CHECKING:
    from torch import Tensor

# The form of a safetensors file: the header's length, little-endian; the header, JSON; the tensors.
_LENGTH_BYTES, _METADATA = 8, "__metadata__"


def write_arrays(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
    *,
    durable: bool = False,
) -> None:
    """Create or replace a safetensors file of numpy arrays.

    Args:
        path: The file; its directory must exist.
        arrays: Arrays by name, of any shape, strides and byte order.
        metadata: Strings by name.
        durable: Whether the file is flushed to disk before this returns, as in `replace_file`.

    Raises:
        OSError: The directory is missing or cannot be written to.
        safetensors.SafetensorError: safetensors does not support the dtype of an array.
    """
    # ascontiguousarray would turn a scalar into an array of shape (1,).
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replace_file(path, durable=durable) as draft:
        save_file(ordered, draft, metadata=dict(metadata or {}))
        _sort_metadata(draft)


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read a safetensors file.

    Returns:
        All arrays by name, and the metadata.

    Raises:
        FileNotFoundError: The file does not exist.
        safetensors.SafetensorError: The file is truncated or not a safetensors file.
    """
    with safe_open(path, framework="numpy") as opened:
        metadata: dict[str, str] = opened.metadata() or {}
        return {name: opened.get_tensor(name) for name in opened.keys()}, metadata  # noqa: SIM118


def read_artifact(
    path: Path, *, what: str, command: str, remedy: str, field: str
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read a safetensors file that a command makes; errors name the command.

    Args:
        path: The file.
        what: The file's content in a few words, for errors, such as "lab record".
        command: The command that makes the file.
        remedy: Advice for a damaged file, such as "fetch it again".
        field: `CreditlineError.field` of the errors.

    Returns:
        All arrays by name, and the metadata.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file cannot be read, because it is truncated or not a safetensors file.
    """
    if not path.is_file():
        raise NotReady(f"no {what} at {path}; make it with `{command}`", field=field)
    try:
        return read_arrays(path)
    except Exception as error:
        raise InvalidInput(f"{path} is not a complete {what} ({error}); {remedy}", field=field) from error


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    durable: bool = False,
) -> None:
    """Create or replace a safetensors file of torch tensors.

    Args:
        path: The file; its directory must exist.
        tensors: Tensors by name, of any strides.
        metadata: Strings by name; None: no metadata.
        durable: Whether the file is flushed to disk before this returns, as in `replace_file`.

    Raises:
        OSError: The directory is missing or cannot be written to.
        RuntimeError: Two tensors share memory.
    """
    from safetensors.torch import save_file as save_torch_file

    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replace_file(path, durable=durable) as draft:
        save_torch_file(contiguous, draft, metadata=None if metadata is None else dict(metadata))
        _sort_metadata(draft)


def _sort_metadata(path: Path) -> None:
    """Write the header of a safetensors file again, of the same length, with its metadata sorted by name."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        if len(header.get(_METADATA, {})) > 1:
            stated = {_METADATA: dict(sorted(header.pop(_METADATA).items())), **header}
            written = json.dumps(stated, separators=(",", ":"), ensure_ascii=False).encode()
            file.seek(_LENGTH_BYTES)
            # Spaces at the end belong to the form. A longer text, by other escapes, is not written.
            file.write(written.ljust(length) if len(written) <= length else b"")
