"""Fault run: an ingest during which the engine is killed repeatedly, and the works that survive."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from creditline.corpus.sources import open_source
from creditline.errors import CreditlineError
from creditline.index import IndexPlan, WorkIndex
from creditline.index.ingest.checkpoint import Checkpoint
from creditline.index.ingest.ingest import Ingest, Progress
from creditline.index.ingest.vectors import SourceFeatures
from tests.index.works_made_up import WIDTH, unit_vectors
from tests.local.qdrant_process import RunningQdrant, start_qdrant

_COLLECTION = "works-killed"
_PLAN = IndexPlan(indexing_threshold_kilobytes=100, upsert_batch=128)
_IDS_PER_CALL = 10_000
# An optimization is in progress at every n-th kill.
_OPTIMIZED_EVERY = 4


@dataclass
class KilledIngest:
    """Result of the run."""

    kills: int = 0
    """Number of kills of the engine."""
    lost: int = 0
    """Number of acknowledged works that were missing after a restart."""
    doubled: int = 0
    """Number of works at the end beyond those of the source."""
    missing: int = 0
    """Number of the source's works that were missing at the end."""
    acknowledged: list[int] = field(default_factory=list)
    """Number of acknowledged works at each kill."""


def killed_ingest(directory: Path, *, works: int, kills: int, seed: int = 0) -> KilledIngest:
    """Ingest works while the engine is killed and restarted at random times.

    The last kill is before the end: the ingest waits for it after nine tenths of the works.

    Args:
        directory: Directory for the source, the engine's storage and the checkpoint.
        works: Number of works.
        kills: Number of kills.
        seed: Seed of the times between kills.
    """
    found, source = KilledIngest(), open_source(_write_source(directory / "source", works))
    engine = _Engine(directory / "qdrant")
    with WorkIndex.connect(grpc_port=engine.port, plan=_PLAN) as index:
        index.create(_COLLECTION, WIDTH)
        all_killed = threading.Event()

        def slow_down(progress: Progress) -> None:
            if progress.works > works * 0.9:
                all_killed.wait()

        ingest = Ingest(source, index, _COLLECTION, SourceFeatures(), on_progress=slow_down)
        checkpoint = Checkpoint.open(directory / "checkpoint", "loader", belongs_to=ingest.identity)
        loading = threading.Thread(target=ingest.run, args=(checkpoint,))
        loading.start()
        random = np.random.default_rng(seed)
        for number in range(kills):
            time.sleep(random.uniform(0.05, 0.5))
            if number % _OPTIMIZED_EVERY == 0:
                _start_optimizing(engine.port)
            acknowledged = checkpoint.position.works
            engine.kill_and_restart()
            found.kills += 1
            found.acknowledged.append(acknowledged)
            found.lost += acknowledged - _count_stored(engine.port, acknowledged)
        all_killed.set()
        loading.join()
        count = index.count(_COLLECTION)
        found.doubled = max(count - works, 0)
        found.missing = works - _count_stored(engine.port, works)
    engine.end()
    return found


def _write_source(directory: Path, works: int) -> Path:
    directory.mkdir(parents=True)
    np.save(directory / "img_emb_0.npy", unit_vectors(works).astype(np.float16))
    columns = {"key": _ids(works), "caption": [f"work {number}" for number in range(works)]}
    pq.write_table(pa.table(columns), directory / "metadata_0.parquet")
    return directory


def _ids(works: int) -> list[str]:
    return [f"work-{number}" for number in range(works)]


def _count_stored(port: int, works: int) -> int:
    """Number of the source's first `works` works that the collection holds, each read by its id."""
    ids, found = _ids(works), 0
    with WorkIndex.connect(grpc_port=port) as index:
        for first in range(0, works, _IDS_PER_CALL):
            found += len(index.vectors(_COLLECTION, ids[first : first + _IDS_PER_CALL]))
    return found


def _start_optimizing(port: int) -> None:
    """Start an optimization without waiting for its end."""
    with WorkIndex.connect(grpc_port=port, plan=_PLAN) as index:
        try:
            index.optimize(_COLLECTION, timeout_seconds=0.3)
        except CreditlineError:
            return


class _Engine:
    """A local Qdrant that keeps its port over kills and restarts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: RunningQdrant = start_qdrant(directory)
        self.port = self._running.port

    def kill_and_restart(self) -> None:
        self._running.process.kill()
        self._running.process.wait()
        self._running = start_qdrant(self._directory, port=self.port)

    def end(self) -> None:
        self._running.process.terminate()
        self._running.process.wait(60)
