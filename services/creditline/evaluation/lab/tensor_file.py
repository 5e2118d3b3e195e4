"""The lab's files: arrays with a few words about them, one safetensors file each, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from creditline import tensor_files
from creditline.errors import InvalidInput, NotReady


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], words: Mapping[str, str]) -> None:
    """Makes the directory where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensor_files.write_arrays(path, arrays, words)


def read_arrays(
    path: Path, *, what: str, command: str, again: str = "fetch it again"
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """All arrays by name, and the words.

    what: the file holds; command: makes it. Raises NotReady when it is not there, InvalidInput when it is cut
    off: `again` says what helps.
    """
    if not path.is_file():
        raise NotReady(f"no {what} at {path}; make it with `{command}`", field="lab")
    try:
        return tensor_files.read_arrays(path)
    except Exception as error:
        raise InvalidInput(f"{path} is no whole {what} ({error}); {again}", field="lab") from error
