"""Pairs per second of the embedder's model against an earlier version of it, and against tuned eager torch.

Run `python -m tests.benchmarks.serving.embed` (about five minutes; the earlier commit must be in the
repository). Three processes, each with one thread for its forward passes, are measured in turn: the earlier
commit, this version, and this version by eager torch with the page-fault setting and texts batched by like
length. The figures are ratios of medians over the turns, with bootstrap intervals.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from creditline.corpus.openclipart import embedded_corpus
from tests.benchmarks.paired_ratios import ratio_of_medians
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result
from tests.benchmarks.serving.workers import Worker, worker

COMMAND = "python -m tests.benchmarks.serving.embed"
SEED = 0
EARLIER = "9004a8d"
_WORKER = Path(__file__).with_name("embed_worker.py")
_SIDE = 64
_ITEMS = 256
_TURNS = 15
# Callers and pairs of one measurement.
_LOADS = {"32 waiting": (32, 96), "one at a time": (1, 24)}
_LEAST_COSINE = 0.99999


def write_items(path: Path, items: int) -> Path:
    """Write pictures of 64 pixels with their captions, drawn from the corpus, for the workers."""
    works = embedded_corpus().works
    rows = np.random.default_rng(SEED).choice(len(works), items, replace=False)
    pictures = [works[row].picture().convert("RGB").resize((_SIDE, _SIDE)) for row in rows]
    captions = np.array([works[row].caption for row in rows])
    np.savez(path, pictures=np.stack([np.asarray(picture) for picture in pictures]), captions=captions)
    return path


@contextmanager
def checked_out(commit: str, directory: Path) -> Iterator[Path]:
    """The source root of a commit, in a work tree of its own that is removed at the end."""
    tree = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*tree, "add", "--detach", str(directory), commit], check=True, capture_output=True)
    try:
        yield directory / "services"
    finally:
        subprocess.run([*tree, "remove", "--force", str(directory)], check=True, capture_output=True)


def version_worker(
    source: Path, items: Path, *options: str, **environment: str
) -> AbstractContextManager[Worker]:
    """A process that runs the version in `source`, with one thread for forward passes."""
    return worker(
        [sys.executable, str(_WORKER), str(items), *options],
        {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", **environment},
    )


def measured(workers: dict[str, Worker], turns: int) -> list[dict[str, Any]]:
    """One row for each turn and load, with the rate of every version; the order of versions alternates."""
    for each in workers.values():
        for waiting, pairs in _LOADS.values():
            each.rate(waiting, pairs)
    rows = []
    for turn in range(turns):
        order = list(workers)[:: 1 if turn % 2 else -1]
        for load, (waiting, pairs) in _LOADS.items():
            rates = {name: workers[name].rate(waiting, pairs) for name in order}
            rows.append({"part": "embed", "turn": turn, "load": load, **rates})
            print(rows[-1], flush=True)
    return rows


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """The three ratios."""

    def ratio(load: str, other: str, target: str, what: str) -> Figure:
        chosen = [row for row in rows if row["load"] == load]
        value, low, high = ratio_of_medians([row["ours"] for row in chosen], [row[other] for row in chosen])
        mean = np.median([row["ours"] for row in chosen])
        return Figure(value, "ratio", low, high, target, f"{what}; {mean:.0f} pairs/s, one thread")

    crowd, single = _LOADS
    return {
        "embed_over_today": ratio(crowd, "today", ">= 3", f"32 callers, over commit {EARLIER}"),
        "embed_over_today_single": ratio(single, "today", ">= 1.9", f"one caller, over commit {EARLIER}"),
        "embed_over_tuned_eager": ratio(
            crowd, "eager", ">= 1.8", "32 callers, over eager torch with huge pages and texts of like length"
        ),
    }


def refuse_other_vectors(ours: Worker, eager: Worker) -> None:
    """Fail unless two versions of one release give the same vectors."""
    one, other = (np.array(each.started["vectors"]) for each in (ours, eager))
    cosines = (one * other).sum(axis=1)
    assert cosines.min() >= _LEAST_COSINE, f"the vectors differ: least cosine {cosines.min():.7f}"


def main() -> None:
    """Measure, print and write the figures."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        items = write_items(Path(scratch, "items.npz"), _ITEMS)
        today = stack.enter_context(checked_out(EARLIER, Path(scratch, "earlier")))
        ours = REPOSITORY / "services"
        workers = {
            "today": stack.enter_context(version_worker(today, items)),
            "ours": stack.enter_context(version_worker(ours, items)),
            "eager": stack.enter_context(version_worker(ours, items, "eager", THP_MEM_ALLOC_ENABLE="1")),
        }
        refuse_other_vectors(workers["ours"], workers["eager"])
        rows = measured(workers, _TURNS)
    found = figures(rows)
    for name, figure in found.items():
        print(f"{name}: {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})  {figure.what}")
    write_result("serving", COMMAND, SEED, found, rows, merge=True)


if __name__ == "__main__":
    main()
