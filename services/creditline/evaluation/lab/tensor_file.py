"""The lab's files: arrays with a few words about them, one safetensors file each, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from creditline.errors import InvalidInput, NotReady


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], words: Mapping[str, str]) -> None:
    """Makes the directory where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    save_file(dict(arrays), draft, metadata=dict(words))
    os.replace(draft, path)


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
        with safe_open(path, framework="numpy") as opened:
            words: dict[str, str] = opened.metadata()
            return {name: opened.get_tensor(name) for name in opened.keys()}, words  # noqa: SIM118
    except Exception as error:
        raise InvalidInput(f"{path} is no whole {what} ({error}); {again}", field="lab") from error
