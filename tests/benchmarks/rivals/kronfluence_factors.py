"""Our EK-FAC against kronfluence's, in one process of an interpreter that has kronfluence (see the package).

Factors of all Linear and Conv2d layers of the lab's UNet, from the same works at the same noise, one draw
each, in batches of the same size, one after the other. kronfluence writes its factors to disk, as it always
does. Writes seconds by run as JSON to the standard output's last line.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from creditline.attribution.fisher.ekfac import fit_ekfac
from creditline.generator.losses import Draws
from tests.benchmarks.rivals.kronfluence_task import NoisyLatents, analyzer_of, fit_factors, whole_layers
from tests.benchmarks.rivals.lab_works import lab_works

WORKS, BATCH, RUNS = 128, 64, 3
DRAW = Draws(timesteps=1, repeats=1, salt="rival")


def main() -> None:
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    with lab_works(WORKS) as (generator, examples), tempfile.TemporaryDirectory() as scratch:
        layers = whole_layers(generator)
        works = NoisyLatents(generator, examples, DRAW)
        analyzer = analyzer_of(generator, Path(scratch))
        for _ in range(RUNS):
            started = time.perf_counter()
            fit_factors(analyzer, works, BATCH)
            fitted = time.perf_counter()
            fit_ekfac(generator, examples, DRAW, layers)
            seconds["theirs"].append(fitted - started)
            seconds["ours"].append(time.perf_counter() - fitted)
    json.dump({**seconds, "works": WORKS, "layers": len(layers)}, sys.stdout)


if __name__ == "__main__":
    main()
