"""Resumable storage of one row of numbers per work: computed block by block, read as a memory map.

`NAME.npy` holds the rows; `NAME.json` records their origin and the number of finished rows. Rows are written
before they are counted, so that a process that was killed at any point resumes and ends with the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.build_lock import build_lock
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.files import replace_file

_REPORT_INTERVAL_SECONDS = 20.0
_RENAMING = ", or rename the generator in artifacts of before with `creditline generator migrate`"


def stored_rows(
    path: Path,
    origin: Mapping[str, str],
    count: int,
    compute: Callable[[range], NDArray[Any]],
    *,
    block: int,
    report: Callable[[str], None] = lambda line: None,
) -> NDArray[Any]:
    """Open stored rows, after computing the missing ones. One process at a time computes; others wait.

    Args:
        path: Path of the files without their suffix.
        origin: What the rows are made from, as names and fingerprints.
        count: Number of rows.
        compute: Returns the rows of a range of indices: (len(range), ...).
        block: Number of rows computed between two checkpoints.
        report: Receives one line about progress every 20 seconds, and one when another process is waited for.

    Returns:
        All rows, as a read-only memory map: (count, ...).

    Raises:
        FingerprintMismatch: The files have another origin or another number of rows.
        InvalidInput: A file is truncated.
    """
    (rows,) = stored_columns([path], origin, count, lambda part: (compute(part),), block=block, report=report)
    return rows


def stored_columns(
    paths: Sequence[Path],
    origin: Mapping[str, str],
    count: int,
    compute: Callable[[range], tuple[NDArray[Any], ...]],
    *,
    block: int,
    report: Callable[[str], None] = lambda line: None,
) -> list[NDArray[Any]]:
    """Open several arrays of rows that one computation gives together, as `stored_rows` opens one.

    Args:
        paths: Path of each array's file without its suffix; the progress is recorded beside the first.
        origin: What the rows are made from, as names and fingerprints.
        count: Number of rows.
        compute: Returns the rows of a range of indices, one array per path.
        block: Number of rows computed between two checkpoints.
        report: Receives one line about progress every 20 seconds, and one when another process is waited for.

    Returns:
        All rows of each array, as read-only memory maps: (count, ...) each.

    Raises:
        FingerprintMismatch: The files have another origin or another number of rows.
        InvalidInput: A file is truncated.
    """
    if rows_done(paths, origin) < count:
        with build_lock(_rows_path(paths[0]), on_wait=report):
            _compute_missing(paths, origin, count, compute, block, report)
    return [read_rows(path, count) for path in paths]


def _compute_missing(
    paths: Sequence[Path],
    origin: Mapping[str, str],
    count: int,
    compute: Callable[[range], tuple[NDArray[Any], ...]],
    block: int,
    report: Callable[[str], None],
) -> None:
    done = rows_done(paths, origin)
    started, last_report, first = time.perf_counter(), 0.0, done
    while done < count:
        rows = range(done, min(done + block, count))
        for path, column in zip(paths, compute(rows), strict=True):
            values = np.ascontiguousarray(column)
            stored = _open(path, done, (count, *values.shape[1:]), values.dtype)
            stored[rows.start : rows.stop] = values
            stored.flush()
        done = rows.stop
        _write_progress(paths[0], origin, done)
        elapsed = time.perf_counter() - started
        if elapsed - last_report > _REPORT_INTERVAL_SECONDS:
            last_report = elapsed
            seconds_left = elapsed / (done - first) * (count - done)
            report(f"{paths[0].name}: {done}/{count} works, {seconds_left / 60:.1f} minutes left")


def _open(path: Path, done: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
    target = _rows_path(path)
    if done == 0:
        return np.lib.format.open_memmap(target, mode="w+", dtype=dtype, shape=shape)
    # Checked first: opening a truncated file for writing would fill it up with zeros.
    read_rows(path, shape[0])
    return np.lib.format.open_memmap(target, mode="r+")


def read_rows(path: Path, count: int) -> NDArray[Any]:
    """Open finished rows.

    Args:
        path: Path of the files without their suffix.
        count: Number of rows.

    Returns:
        The rows, as a read-only memory map: (count, ...).

    Raises:
        FingerprintMismatch: The file has another number of rows.
        InvalidInput: The file is truncated.
    """
    target = _rows_path(path)
    try:
        rows: NDArray[Any] = np.load(target, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput(
            f"{target} is truncated or damaged ({error}); delete it and run the command again"
        ) from error
    if len(rows) != count:
        raise FingerprintMismatch(f"{target} holds {len(rows)} works, not {count}; use another directory")
    return rows


def rows_done(paths: Sequence[Path], origin: Mapping[str, str]) -> int:
    """Number of finished rows of arrays that are stored together; 0 where a file is missing.

    Args:
        paths: Path of each array's file without its suffix, the first of them with the progress.
        origin: What the rows are made from.

    Raises:
        FingerprintMismatch: The files have another origin.
        InvalidInput: The record of the progress is truncated.
    """
    progress_path = _progress_path(paths[0])
    if not progress_path.is_file():
        return 0
    try:
        progress = json.loads(progress_path.read_text())
        stored_origin, done = progress["origin"], int(progress["rows"])
    except (ValueError, KeyError) as error:
        raise InvalidInput(
            f"{progress_path} is truncated or damaged ({error}); delete it and run the command again"
        ) from error
    refuse_other_origin(stored_origin, origin, progress_path)
    return done if all(_rows_path(path).is_file() for path in paths) else 0


def refuse_other_origin(stored: Mapping[str, str], expected: Mapping[str, str], path: Path) -> None:
    """Refuse an artifact that was made from something else.

    Args:
        stored: Origin that is recorded in the artifact.
        expected: Origin that it must have.
        path: The artifact, for the error message.

    Raises:
        FingerprintMismatch: The two differ in a key of `expected`, which the error's field names.
    """
    for key in expected:
        if stored.get(key) != expected[key]:
            more = _RENAMING if key == "generator" else ""
            raise FingerprintMismatch(
                f"{path} was made with {key} {stored.get(key)!r}, not {expected[key]!r}; use another"
                f" directory, or delete it and run the command again{more}",
                field=key,
            )


def _write_progress(path: Path, origin: Mapping[str, str], rows: int) -> None:
    with replace_file(_progress_path(path)) as draft:
        draft.write_text(json.dumps({"origin": dict(origin), "rows": rows}))


def _rows_path(path: Path) -> Path:
    return path.with_name(path.name + ".npy")


def _progress_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")
