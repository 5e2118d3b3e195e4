"""Gradient rows per second, ours over dattri's: one thread, the same UNet, layers, draws and dimension."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import numpy as np

from tests.benchmarks.paired_ratios import ratio_of_medians
from tests.benchmarks.result_files import REPOSITORY, Figure


def measured(python: str) -> dict[str, Any]:
    """Seconds of every way, by run, from an interpreter that has dattri."""
    done = subprocess.run(
        [python, "-m", "tests.benchmarks.rivals.dattri_rows"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'services'}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["version"] = subprocess.run(
        [python, "-c", "from importlib.metadata import version; print(version('dattri'))"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    return found


def measure(python: str) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """The figures, and a row for every way."""
    found = measured(python)
    by_way, size, side = found["seconds"], found["size"], found["side"]

    def over(theirs: str, ours: str, what: str, target: str | None = None) -> Figure:
        value, low, high = ratio_of_medians(by_way[theirs], by_way[ours])
        return Figure(value, low=low, high=high, target=target, what=what)

    return {
        "rows_over_dattri": over(
            "dattri mask",
            "ours",
            f"gradient rows of {size} numbers per second of one thread, over dattri {found['version']}: its"
            " task's gradients and its fastest projector on a CPU, a mask, which loses more LDS than ours",
            ">= 5",
        ),
        "rows_over_dattri_normal": over(
            "dattri normal", "ours", "the same over its normal projection, which preserves inner products"
        ),
        "rows_over_dattri_hooks": over(
            "dattri hooks",
            "ours",
            f"the same over its LoGRA hooks, {side} x {side} per layer without a second stage",
        ),
        "two_sided_over_dattri_hooks": over(
            "dattri hooks", "ours two-sided", "our two-sided rows of these dimensions over the same hooks"
        ),
    }, [
        {"part": "speed", "way": name, "seconds_per_work": float(np.median(values))}
        for name, values in by_way.items()
    ]
