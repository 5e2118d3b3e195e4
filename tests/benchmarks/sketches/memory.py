"""Peak memory of making rows, over that of the rows of before: whole gradients, then a projection.

Each run is a process of its own; what it held before (libraries, generator, works) is taken off.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import torch

from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.attribution.gradients.projection import PermutedSignSum
from creditline.attribution.gradients.sketches.making import ProjectedLayers, gradient_sketches
from creditline.attribution.gradients.sketches.sparse import SparseSigns
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.attribution.methods.hyperparameters import FEW_OUTPUT
from creditline.generator.losses import Examples
from creditline.generator.pipeline import Generator
from tests.benchmarks.result_files import Figure
from tests.benchmarks.rivals.lab_works import lab_works

WORKS, RUNS, SIZE = 16, 3, 8192
_DRAWS, _MEASURE = FEW_OUTPUT.draws, gradient_target_by_name(FEW_OUTPUT.measure)
Making = Callable[[Generator, Examples], torch.Tensor]


def whole_rows(generator: Generator, works: Examples) -> torch.Tensor:
    """A block of works as `GradientRows` makes it: gradients, then a projection that holds its indices."""
    layers = chosen_layers(generator.unet, FEW_OUTPUT.parameters)
    gradients = per_sample_gradients(generator, works, _DRAWS, layers, measure=_MEASURE)
    return PermutedSignSum(parameter_count(layers), FEW_OUTPUT.compressed, 0).project(gradients)


def sketches(generator: Generator, works: Examples) -> torch.Tensor:
    """The same block as sketches."""
    layers = chosen_layers(generator.unet, FEW_OUTPUT.parameters)
    sketch = ProjectedLayers(layers, SparseSigns(parameter_count(layers), SIZE, 0))
    return gradient_sketches(generator, works, _DRAWS, sketch, measure=_MEASURE)


def rise(make: Making) -> float:
    """MiB by which a process's peak exceeds what it held before."""
    torch.set_num_threads(1)
    with lab_works(WORKS) as (generator, works):
        # What encoding the works has freed would be used again, and not be seen.
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        # Writing 5 sets the peak back to the memory that is resident now (Linux, proc(5)).
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        make(generator, works)
        return _status("VmHWM") - before


def _status(key: str) -> float:
    """A line of the process's status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def measure() -> dict[str, Figure]:
    """The figure: ratio of medians of runs in turn, and the least and most of the pairs."""
    found: dict[str, list[float]] = {"whole": [], "sketches": []}
    for _ in range(RUNS):
        for name, make in (("whole", whole_rows), ("sketches", sketches)):
            with get_context("spawn").Pool(1) as pool:
                found[name].append(pool.apply(rise, (make,)))
    ratios = [ours / whole for ours, whole in zip(found["sketches"], found["whole"], strict=True)]
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {
        "memory_over_today": Figure(
            medians["sketches"] / medians["whole"],
            low=min(ratios),
            high=max(ratios),
            target="<= 0.5",
            what=f"peak memory of making {WORKS} works' rows, over whole gradients that are projected"
            f" afterwards ({medians['sketches']:.0f} of {medians['whole']:.0f} MiB; without what the process"
            " held before)",
        )
    }
