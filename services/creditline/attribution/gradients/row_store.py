"""Rows of numbers, one for each work, on disk: filled block by block, resumable, read by memory map.

`NAME.npy` holds the rows and `NAME.json` says what they were made from and how many are done. A row is
written before it is counted, so that a process that is killed anywhere goes on to the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.build_lock import build_lock
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.files import replace_file

_SAY_SECONDS = 20.0


def stored_rows(
    path: Path,
    origin: Mapping[str, str],
    count: int,
    compute: Callable[[range], NDArray[Any]],
    *,
    block: int,
    report: Callable[[str], None] = lambda line: None,
) -> NDArray[Any]:
    """All `count` rows, computing what is missing: a read-only memory map (count, ...).

    path: without suffix; origin: what the rows are made from; compute: gives the rows of a range. One process
    at a time computes what is missing; others wait for it, and `report` reports that.
    Raises FingerprintMismatch when the file was made from something else, InvalidInput when it is cut off.
    """
    if _rows_done(path, origin) < count:
        with build_lock(_rows_path(path), on_wait=report):
            _compute_missing(path, origin, count, compute, block, report)
    return _read(path, count)


def _compute_missing(
    path: Path,
    origin: Mapping[str, str],
    count: int,
    compute: Callable[[range], NDArray[Any]],
    block: int,
    report: Callable[[str], None],
) -> None:
    done = _rows_done(path, origin)
    started, said, first = time.perf_counter(), 0.0, done
    while done < count:
        rows = range(done, min(done + block, count))
        values = np.ascontiguousarray(compute(rows))
        stored = _open(path, done, (count, *values.shape[1:]), values.dtype)
        stored[rows.start : rows.stop] = values
        stored.flush()
        done = rows.stop
        _write_progress(path, origin, done)
        elapsed = time.perf_counter() - started
        if elapsed - said > _SAY_SECONDS:
            said = elapsed
            left = elapsed / (done - first) * (count - done)
            report(f"{path.name}: {done}/{count} works, {left / 60:.1f} minutes left")


def _open(path: Path, done: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
    target = _rows_path(path)
    if done == 0:
        return np.lib.format.open_memmap(target, mode="w+", dtype=dtype, shape=shape)
    # Opened for writing, a file that is cut off would be filled up with zeros.
    _read(path, shape[0])
    return np.lib.format.open_memmap(target, mode="r+")


def _read(path: Path, count: int) -> NDArray[Any]:
    target = _rows_path(path)
    try:
        rows: NDArray[Any] = np.load(target, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput(f"{target} is cut off ({error}); delete it and make it again") from error
    if len(rows) != count:
        raise FingerprintMismatch(f"{target} holds {len(rows)} works, not {count}; use another directory")
    return rows


def _rows_done(path: Path, origin: Mapping[str, str]) -> int:
    progress_path = _progress_path(path)
    if not progress_path.is_file():
        return 0
    try:
        progress = json.loads(progress_path.read_text())
        found, done = progress["origin"], int(progress["rows"])
    except (ValueError, KeyError) as error:
        raise InvalidInput(f"{progress_path} is cut off ({error}); delete it and make it again") from error
    refuse_other_origin(found, origin, progress_path)
    return done if _rows_path(path).is_file() else 0


def refuse_other_origin(found: Mapping[str, str], wanted: Mapping[str, str], path: Path) -> None:
    """Raises FingerprintMismatch when an artifact was made from something else than is wanted."""
    for key in wanted:
        if found.get(key) != wanted[key]:
            raise FingerprintMismatch(
                f"{path} was made with {key} {found.get(key)!r}, not {wanted[key]!r}; use another directory"
                " or make it again",
                field=key,
            )


def _write_progress(path: Path, origin: Mapping[str, str], rows: int) -> None:
    with replace_file(_progress_path(path)) as draft:
        draft.write_text(json.dumps({"origin": dict(origin), "rows": rows}))


def _rows_path(path: Path) -> Path:
    return path.with_name(path.name + ".npy")


def _progress_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")
