"""Ingest of captioned pictures through a real embedder, against the bare rate of its model, and its memory.

Run `python -m tests.benchmarks.bring.ingest` (about ten minutes on two cores). Parts of the source are
ingested in turn with bare batches of decoded pictures, in a process of its own with the same number of
threads; both rates are medians, and the interval of their ratio is a bootstrap over the turns.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.withdrawn import Withdrawn
from creditline.index import WorkIndex
from creditline.release import reference_release_directory
from creditline.teacher.ingest_jobs import IngestJob
from tests.benchmarks.bring.real_embedder import real_embedder
from tests.benchmarks.paired_ratios import ratio_of_medians
from tests.benchmarks.result_files import Figure, write_result
from tests.local.qdrant_process import local_qdrant

COMMAND = "make bench-bring"
SEED = 0
_PICTURES = 5_000
_PARTS = 5
# Sides in pixels, as people prepare them: small, at the decoder's limit, and to be shrunk.
_SIDES = (256, 384, 512, 768)
_BARE_PICTURES = 96
_BARE_BATCHES = (1, 4, 8, 16, 32)
_SAMPLE_SECONDS = 0.25
_COLLECTION = "benched"


def write_parts(directory: Path, pictures: int, parts: int) -> list[Path]:
    """Sources of captioned JPEG pictures of several sizes, one file each."""
    works = embedded_corpus().works
    rng = np.random.default_rng(SEED)
    paths = []
    for part, rows in enumerate(np.array_split(np.arange(pictures), parts)):
        chosen = [works[row % len(works)] for row in rows]
        encoded = [_jpeg(work.picture(), int(rng.choice(_SIDES))) for work in chosen]
        table = {
            "key": [f"{row:06d}" for row in rows],
            "caption": [work.caption for work in chosen],
            "jpg": pa.array(encoded, pa.binary()),
        }
        paths.append(directory / f"{part:05d}.parquet")
        pq.write_table(pa.table(table), paths[-1], row_group_size=64)
    return paths


def _jpeg(picture: Image.Image, side: int) -> bytes:
    buffer = io.BytesIO()
    picture.resize((side, side * 3 // 4), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@dataclass
class Memory:
    """Resident memory of processes over time, in bytes, sampled while `sampling` is set."""

    pids: dict[str, int]
    sampling: threading.Event = field(default_factory=threading.Event)
    samples: dict[str, list[int]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Memory:
        self.samples = {name: [] for name in self.pids}
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            if self.sampling.is_set():
                for name, pid in self.pids.items():
                    self.samples[name].append(_resident(pid))

    def growth(self, name: str) -> float:
        """Mean of the second half of the samples over that of the first."""
        first, second = np.array_split(np.array(self.samples[name], dtype=float), 2)
        return float(second.mean() / first.mean())


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def _serve_bare(connection: Connection, release: Path, source: Path) -> None:
    """For each batch size received, send the pictures per second of the embedder's model."""
    from creditline.corpus.sources import open_source
    from creditline.encoder.encoder import Side
    from creditline.encoder.model import EmbedderModel, EmbedItem
    from creditline.towers.spec import EMBEDDED

    model = EmbedderModel.open(release, EMBEDDED)
    opened = open_source(source)
    works = [found.work for part in opened.parts() for found in opened.rows(part) if found.work]
    items = [EmbedItem(work.picture(), work.caption, Side.WORK) for work in works[:_BARE_PICTURES]]
    connection.send(0.0)
    while (batch := connection.recv()) is not None:
        began = time.perf_counter()
        for start in range(0, len(items), batch):
            model.forward(items[start : start + batch])
        connection.send(len(items) / (time.perf_counter() - began))


@contextmanager
def bare_model(release: Path, source: Path) -> Iterator[Connection]:
    """A process with the model; `_serve_bare` is its protocol."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve_bare, args=(there, release, source), daemon=True)
    process.start()
    here.recv()
    try:
        yield here
    finally:
        here.send(None)
        process.join(60)


def bare_rate(bare: Connection, batch: int) -> float:
    """Pictures per second of the model in batches."""
    bare.send(batch)
    rate: float = bare.recv()
    return rate


def measured(scratch: Path, pictures: int, parts: int) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Ingest the parts in turn with bare batches; the figures and their rows."""
    release = reference_release_directory()
    scratch.joinpath("parts").mkdir()
    paths = write_parts(scratch / "parts", pictures, parts)
    with (
        local_qdrant(scratch / "qdrant") as qdrant,
        real_embedder(release) as embedder,
        bare_model(release, paths[0]) as bare,
        WorkIndex.connect(grpc_port=qdrant.port) as index,
        Memory({"client": os.getpid(), "embedder": embedder.process.pid}) as memory,
    ):
        rates = {batch: bare_rate(bare, batch) for batch in _BARE_BATCHES}
        best = max(rates, key=rates.__getitem__)
        rows: list[dict[str, Any]] = []
        for path in paths:
            job = IngestJob(path, _COLLECTION, scratch / "checkpoint" / path.stem, embedder=embedder.target)
            job.create_collection(index)
            memory.sampling.set()
            report = job.run(index, Withdrawn())
            memory.sampling.clear()
            rows.append(
                {
                    "turn": path.stem,
                    "ingest_per_second": report.works_per_second,
                    "bare_per_second": bare_rate(bare, best),
                    "written": report.written,
                    "broken": report.broken,
                }
            )
            print(rows[-1], flush=True)
        assert index.count(_COLLECTION) == pictures
    return _figures(rows, memory, best), rows


def _figures(rows: Sequence[dict[str, Any]], memory: Memory, best: int) -> dict[str, Figure]:
    ratio, low, high = ratio_of_medians(
        [row["ingest_per_second"] for row in rows], [row["bare_per_second"] for row in rows]
    )
    growth = {name: memory.growth(name) for name in memory.samples}
    grown = max(growth, key=growth.__getitem__)
    pictures = sum(row["written"] for row in rows)
    size = memory.samples[grown]
    return {
        "ingest_over_bare": Figure(
            ratio,
            "ratio",
            low,
            high,
            ">= 0.9",
            f"pictures/s of {pictures:,} through an embedder over its model's in batches of {best}; medians",
        ),
        "ingest_memory_growth": Figure(
            growth[grown],
            "ratio",
            min(growth.values()),
            max(growth.values()),
            "<= 1.05",
            f"resident memory of the {grown} ({np.mean(size) / 2**20:,.0f} MiB), second half of the run over"
            " first; between the two processes",
        ),
    }


def main() -> None:
    """Measure, print and write the figures."""
    with tempfile.TemporaryDirectory() as scratch:
        figures, rows = measured(Path(scratch), _PICTURES, _PARTS)
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})  {figure.what}")
    write_result("bring", COMMAND, SEED, figures, [{"part": "ingest", **row} for row in rows], merge=True)


if __name__ == "__main__":
    main()
