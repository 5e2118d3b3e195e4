"""Pictures of planned queries: made part by part, so that a run that was cut off goes on."""

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
    """Make whatever is not made yet, a file for each part in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    started, made = time.perf_counter(), 0
    for start in range(0, len(planned), QUERIES_PER_PART):
        path, part = _part(directory, start), planned[start : start + QUERIES_PER_PART]
        if path.is_file():
            continue
        _write(png(sampled(generator, part)), path)
        made += len(part)
        seconds = time.perf_counter() - started
        left = seconds / made * (len(planned) - start - len(part))
        report(f"pictures: {start + len(part)}/{len(planned)}; about {left:.0f} s are left")


def read_pictures(directory: Path, count: int) -> tuple[bytes, ...]:
    """The PNG files that `make_pictures` made of so many queries, in order."""
    parts = [_read(_part(directory, start)) for start in range(0, count, QUERIES_PER_PART)]
    return tuple(picture for part in parts for picture in part)


def sampled(generator: Generator, planned: Sequence[PlannedQuery]) -> list[Image.Image]:
    """Their pictures, in order; those of one guidance are made together."""
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
