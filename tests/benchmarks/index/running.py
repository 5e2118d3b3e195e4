"""The local Qdrant over a directory that is kept from run to run, and collections that are filled once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from creditline.index import IndexPlan, WorkIndex
from tests.benchmarks.index.feature_files import write_features
from tests.benchmarks.index.synthetic import SyntheticCorpus
from tests.benchmarks.result_files import REPOSITORY
from tests.local.qdrant_process import RunningQdrant, local_qdrant

WORKPLACE = REPOSITORY / "build" / "index"
MILLION = 1_000_000
SIZES = (10_000, 100_000, MILLION)
SEED = 0
# Small collections shall have a graph too, or growth would be that of a scan.
PLAN = IndexPlan(indexing_threshold_kilobytes=1_000)
_OPTIMIZE_SECONDS = 7_200.0


@contextmanager
def running_index(name: str, plan: IndexPlan = PLAN) -> Iterator[tuple[RunningQdrant, WorkIndex]]:
    """A local Qdrant over `build/index/NAME`, and a client of it."""
    directory = WORKPLACE / name
    directory.mkdir(parents=True, exist_ok=True)
    with (
        local_qdrant(directory) as running,
        WorkIndex.connect(grpc_port=running.port, timeout_seconds=120.0, plan=plan) as index,
    ):
        yield running, index


def corpus_of(works: int) -> SyntheticCorpus:
    """The first so many synthetic works."""
    return SyntheticCorpus(works, seed=SEED)


def features_of(works: int) -> Path:
    """The same as files."""
    return write_features(corpus_of(works), WORKPLACE / f"features-{works}")


@dataclass(frozen=True)
class Loaded:
    """What one loader process says of itself."""

    works: int
    seconds: float
    bytes: int


def load(running: RunningQdrant, source: Path, collection: str, shares: Sequence[str]) -> list[Loaded]:
    """Run one loader process a share (1/2 and 2/2) at once, until all are done."""
    module = (sys.executable, "-m", "tests.benchmarks.index.loader")
    processes = [
        subprocess.Popen(
            [*module, str(source), collection, str(running.port), share],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for share in shares
    ]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a loader ended with {[process.returncode for process in processes]}")
    return [Loaded(**json.loads(line)) for line in said]


def filled(running: RunningQdrant, index: WorkIndex, works: int) -> str:
    """A collection of so many works with its graph built; made when it is not there."""
    name = f"works-{works}"
    if index.exists(name) and index.count(name) == works:
        return name
    index.delete(name)
    index.create(name, corpus_of(works).width)
    load(running, features_of(works), name, ["1/1"])
    index.optimize(name, timeout_seconds=_OPTIMIZE_SECONDS)
    return name
