"""The engine killed in the middle of an ingest, again and again: is what it acknowledged still there?"""

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
from creditline.index.ingest.ingest import AsGiven, Ingest, Progress
from tests.index.works_made_up import WIDTH, unit_vectors
from tests.local.qdrant_process import RunningQdrant, start_qdrant

_COLLECTION = "works-killed"
_PLAN = IndexPlan(indexing_threshold_kilobytes=100, upsert_batch=128)
_IDS_A_CALL = 10_000
# An optimization runs when every so many-th kill comes.
_OPTIMIZED_EVERY = 4


@dataclass
class KilledIngest:
    """kills: how often the engine was killed. lost: acknowledged works that were not there after a restart.

    doubled: works at the end beyond those of the source; acknowledged: how many were at each kill.
    """

    kills: int = 0
    lost: int = 0
    doubled: int = 0
    missing: int = 0
    acknowledged: list[int] = field(default_factory=list)


def killed_ingest(directory: Path, *, works: int, kills: int, seed: int = 0) -> KilledIngest:
    """Ingest `works` while the engine is killed and started again `kills` times, at moments of chance.

    The last kill comes before the end: the ingest waits at its last batch until then.
    """
    found, source = KilledIngest(), open_source(_write_source(directory / "source", works))
    engine = _Engine(directory / "qdrant")
    with WorkIndex.connect(grpc_port=engine.port, plan=_PLAN) as index:
        index.create(_COLLECTION, WIDTH)
        all_killed = threading.Event()

        def slow_down(progress: Progress) -> None:
            if progress.works > works * 0.9:
                all_killed.wait()

        ingest = Ingest(source, index, _COLLECTION, AsGiven(), on_progress=slow_down)
        checkpoint = Checkpoint.open(directory / "checkpoint", "loader", belongs_to=ingest.identity)
        loading = threading.Thread(target=ingest.run, args=(checkpoint,))
        loading.start()
        random = np.random.default_rng(seed)
        for number in range(kills):
            time.sleep(random.uniform(0.05, 0.5))
            if number % _OPTIMIZED_EVERY == 0:
                _begin_to_optimize(engine.port)
            acknowledged = checkpoint.position.works
            engine.kill_and_start_again()
            found.kills += 1
            found.acknowledged.append(acknowledged)
            found.lost += acknowledged - _there(engine.port, acknowledged)
        all_killed.set()
        loading.join()
        count = index.count(_COLLECTION)
        found.doubled = max(count - works, 0)
        found.missing = works - _there(engine.port, works)
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


def _there(port: int, works: int) -> int:
    """How many of the source's first works the collection holds, each asked for by its id."""
    ids, found = _ids(works), 0
    with WorkIndex.connect(grpc_port=port) as index:
        for first in range(0, works, _IDS_A_CALL):
            found += len(index.vectors(_COLLECTION, ids[first : first + _IDS_A_CALL]))
    return found


def _begin_to_optimize(port: int) -> None:
    """Without waiting for the end."""
    with WorkIndex.connect(grpc_port=port, plan=_PLAN) as index:
        try:
            index.optimize(_COLLECTION, timeout_seconds=0.3)
        except CreditlineError:
            return


class _Engine:
    """The local Qdrant on one port, killed and started as often as one likes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: RunningQdrant = start_qdrant(directory)
        self.port = self._running.port

    def kill_and_start_again(self) -> None:
        self._running.process.kill()
        self._running.process.wait()
        self._running = start_qdrant(self._directory, port=self.port)

    def end(self) -> None:
        self._running.process.terminate()
        self._running.process.wait(60)
