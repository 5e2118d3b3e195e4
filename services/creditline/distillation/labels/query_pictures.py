"""Pictures of planned queries, generated in parts, so that an interrupted run can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from creditline.distillation.labels.label_set import png
from creditline.distillation.labels.queries import PlannedQuery
from creditline.files import replace_file
from creditline.generator.pipeline import Generator

QUERIES_PER_PART = 48


def make_pictures(
    generator: Generator, planned: Sequence[PlannedQuery], directory: Path, report: Callable[[str], None]
) -> None:
    """Generate the pictures that do not exist yet, one file per part.

    Args:
        generator: The generator.
        planned: The queries.
        directory: Directory of the files.
        report: Receives progress messages.
    """
    directory.mkdir(parents=True, exist_ok=True)
    started, generated = time.perf_counter(), 0
    for start in range(0, len(planned), QUERIES_PER_PART):
        path, part = _part(directory, start), planned[start : start + QUERIES_PER_PART]
        if path.is_file():
            continue
        _write(png(sample_pictures(generator, part)), path)
        generated += len(part)
        seconds = time.perf_counter() - started
        left = seconds / generated * (len(planned) - start - len(part))
        report(f"pictures: {start + len(part)}/{len(planned)}; about {left:.0f} s remaining")


def read_pictures(directory: Path, count: int) -> tuple[bytes, ...]:
    """Read the pictures (PNG) of the first `count` queries that `make_pictures` wrote, in order."""
    parts = [_read(_part(directory, start)) for start in range(0, count, QUERIES_PER_PART)]
    return tuple(picture for part in parts for picture in part)


def sample_pictures(generator: Generator, planned: Sequence[PlannedQuery]) -> list[Image.Image]:
    """Generate the pictures of planned queries, in order; those of one guidance are sampled together."""
    pictures: dict[int, Image.Image] = {}
    for guidance in dict.fromkeys(query.guidance for query in planned):
        rows = [row for row, query in enumerate(planned) if query.guidance == guidance]
        prompts, seeds = [planned[row].prompt for row in rows], [planned[row].seed for row in rows]
        pictures.update(zip(rows, generator.sample(prompts, seeds, guidance=guidance), strict=True))
    return [pictures[row] for row in range(len(planned))]


def _part(directory: Path, start: int) -> Path:
    return directory / f"pictures-{start:06d}.npz"


def _write(pictures: Sequence[bytes], path: Path) -> None:
    lengths = np.array([len(picture) for picture in pictures])
    with replace_file(path) as draft:
        np.savez(draft, lengths=lengths, pictures=np.frombuffer(b"".join(pictures), dtype=np.uint8))


def _read(path: Path) -> tuple[bytes, ...]:
    with np.load(path) as stored:
        ends, joined = np.cumsum(stored["lengths"]), stored["pictures"].tobytes()
        return tuple(joined[a:b] for a, b in zip(ends - stored["lengths"], ends, strict=True))
