"""Text embeddings per second beside infinity (PyPI `infinity-emb`), with the same weights, 32 callers.

Run `python -m tests.benchmarks.serving.infinity` on a quiet machine (about five minutes; the first run makes
infinity's environment under build/infinity, which needs the package index and 7 GB). Infinity runs by torch
and by its ONNX backend; the ratio is over the faster one. Both sides may use two threads; neither has a
network between caller and engine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from creditline.corpus.openclipart import embedded_corpus
from creditline.towers.embedded import text_directory
from tests.benchmarks.paired_ratios import ratio_of_medians
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result
from tests.benchmarks.serving.workers import Worker, worker

COMMAND = "python -m tests.benchmarks.serving.infinity"
SEED = 0
ENGINES = ("torch", "optimum")
_PACKAGES = ("infinity-emb[optimum,torch]==0.0.78", "torch==2.14.1", "transformers==4.57.6", "optimum==2.1.0")
_EXPORT = """
import sys
from optimum.onnxruntime import ORTModelForFeatureExtraction
ORTModelForFeatureExtraction.from_pretrained(sys.argv[1], export=True).save_pretrained(sys.argv[2])
"""
_HERE = Path(__file__).parent
_TEXTS = 512
_CALLERS = 32
_COUNT = 1_024
_TURNS = 10
_LEAST_COSINE = 0.9999


def environment_python(directory: Path) -> Path:
    """Python of infinity's environment, which is made where it is missing."""
    python = directory / "bin" / "python"
    if not (directory / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *_PACKAGES], check=True)
        (directory / ".installed").touch()
    return python


def exported_model(python: Path, directory: Path) -> Path:
    """The text tower in Hugging Face's layout, with the network that infinity's ONNX backend reads."""
    shutil.copytree(text_directory(), directory)
    subprocess.run(
        [str(python), "-c", _EXPORT, str(text_directory()), str(directory / "onnx")],
        check=True,
        capture_output=True,
        env=_environment(),
    )
    return directory


def _environment() -> dict[str, str]:
    """The environment of infinity's processes: nothing of ours, and no downloads."""
    ours = ("PYTHONPATH", "OMP_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


def refuse_other_vectors(workers: dict[str, Worker]) -> None:
    """Fail unless all workers embed the same texts into the same vectors."""
    ours = np.array(workers["ours"].started["vectors"])
    for name, each in workers.items():
        cosine = (ours * np.array(each.started["vectors"])).sum(axis=1).min()
        assert cosine >= _LEAST_COSINE, f"{name} gives other vectors: least cosine {cosine:.6f}"


def measured(workers: dict[str, Worker], turns: int, count: int) -> list[dict[str, Any]]:
    """Rates of all workers, in turns whose order alternates."""
    for each in workers.values():
        each.rate(_CALLERS, count)
    rows = []
    for turn in range(turns):
        order = list(workers)[:: 1 if turn % 2 else -1]
        rates = {name: workers[name].rate(_CALLERS, count) for name in order}
        rows.append({"part": "infinity", "turn": turn, **rates})
        print(rows[-1], flush=True)
    return rows


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """Our rate over that of infinity's faster backend."""
    best = max(ENGINES, key=lambda engine: float(np.median([row[engine] for row in rows])))
    ours = [row["ours"] for row in rows]
    value, low, high = ratio_of_medians(ours, [row[best] for row in rows])
    what = (
        f"text embeddings/s at {_CALLERS} callers ({np.median(ours):.0f}) over infinity 0.0.78 by {best},"
        " its faster backend here; same weights, two threads each"
    )
    return {"over_infinity": Figure(value, "ratio", low, high, ">= 1", what)}


def main() -> None:
    """Measure, print and write the figure."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--environment", type=Path, default=REPOSITORY / "build" / "infinity")
    arguments.add_argument("--quick", action="store_true", help="one short turn, and no result file")
    chosen = arguments.parse_args()
    works = embedded_corpus().works
    captions = [works[row].caption for row in np.random.default_rng(SEED).choice(len(works), _TEXTS, False)]
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        texts = Path(scratch, "texts.json")
        texts.write_text(json.dumps(captions))
        python = environment_python(chosen.environment)
        model = exported_model(python, Path(scratch, "model"))
        ours = [sys.executable, str(_HERE / "text_worker.py"), str(texts)]
        theirs = [str(python), str(_HERE / "infinity_worker.py"), str(texts), str(model)]
        workers = {"ours": opened.enter_context(worker(ours, dict(os.environ)))}
        for engine in ENGINES:
            workers[engine] = opened.enter_context(worker([*theirs, engine], _environment()))
        refuse_other_vectors(workers)
        rows = measured(workers, 1 if chosen.quick else _TURNS, 128 if chosen.quick else _COUNT)
    found = figures(rows)
    for name, figure in found.items():
        print(f"{name}: {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})  {figure.what}")
    if not chosen.quick:
        write_result("serving", COMMAND, SEED, found, rows, merge=True)


if __name__ == "__main__":
    main()
