"""Measure one part of `sketches.json`, and draw the curve."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.benchmarks.result_files import write_result
from tests.benchmarks.sketches import curve, memory, plot, speed

COMMAND = "python -m tests.benchmarks.sketches"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("curve", "speed", "memory"))
    parser.add_argument(
        "--directory", type=Path, default=Path("runs/lab/artifacts/sketches"), help="place of the exact rows"
    )
    parser.add_argument(
        "--rivals", default=os.environ.get("RIVALS"), help="speed: an interpreter that has dattri"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    command = f"{COMMAND} {options.part}"
    if options.part == "curve":
        figures, points = curve.measure(options.directory)
        plot.draw(points)
        rows = [{"part": "curve", **row} for row in points]
    elif options.part == "speed":
        if options.rivals is None:
            parser.error("speed needs --rivals PYTHON, an interpreter that has dattri")
        figures, rows = speed.measure(options.rivals)
        command = f"{command} --rivals PYTHON"
    else:
        figures, rows = memory.measure(), []
    write_result("sketches", command, curve.SEED, figures, rows, merge=True)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.4g} {figure.unit} (target {figure.target}) {figure.what}")


if __name__ == "__main__":
    main(sys.argv[1:])
