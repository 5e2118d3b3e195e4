"""Gradient rows per second, ours over dattri's: one thread, the same UNet, layers, draws and dimension."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.benchmarks.paired_ratios import ratio_of_medians
from tests.benchmarks.result_files import REPOSITORY, Figure

# dattri's projections that preserve inner products; the faster one is the rival. A mask alone does not: at
# the same dimension it loses several times as much LDS (the curve).
_PRESERVING = ("dattri normal", "dattri rademacher")


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


def ways(seconds: dict[str, list[float]]) -> dict[str, list[float]]:
    """Seconds of every way from pictures to rows: dattri's projections need its gradients first."""
    gradients = seconds["dattri gradients"]
    return {
        name: [one + made for one, made in zip(values, gradients, strict=True)]
        if name in (*_PRESERVING, "dattri random_mask")
        else values
        for name, values in seconds.items()
        if name != "dattri gradients"
    }


def measure(python: str) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """The figure, and a row for every way."""
    found = measured(python)
    by_way = ways(found["seconds"])
    rival = min(_PRESERVING, key=lambda name: float(np.median(by_way[name])))
    kind = rival.removeprefix("dattri ")
    return {
        "rows_over_dattri": _ratio(
            by_way[rival],
            by_way["ours"],
            ">= 5",
            f"gradient rows per second, one thread, over dattri {found['version']}: its task's gradients and"
            f" `random_project` ({kind}, its fastest on a CPU that preserves inner products) to"
            f" {found['size']} numbers, {found['works']} works in one call",
        ),
        "rows_over_dattri_mask": _ratio(
            by_way["dattri random_mask"],
            by_way["ours"],
            None,
            "the same over its mask, which costs nothing after the gradients and loses more LDS",
        ),
        "rows_over_dattri_hooks": _ratio(
            by_way["dattri hooks"],
            by_way["ours"],
            None,
            f"the same over its LoGRA hooks, {found['side']} x {found['side']} per layer, compressed by draw",
        ),
        "two_sided_over_dattri_hooks": _ratio(
            by_way["dattri hooks"],
            by_way["ours two-sided"],
            None,
            "our two-sided rows of the same dimensions over its LoGRA hooks",
        ),
    }, [
        {"part": "speed", "way": name, "rows_per_second": found["works"] / float(np.median(values))}
        for name, values in by_way.items()
    ]


def _ratio(theirs: Sequence[float], ours: Sequence[float], target: str | None, what: str) -> Figure:
    value, low, high = ratio_of_medians(theirs, ours)
    return Figure(value, low=low, high=high, target=target, what=what)
