"""Measures a GPU beside the processor: losses, per-sample gradients, sampling, towers; speed and agreement.

Run `python -m tests.benchmarks.device_speed` on a machine with a GPU (minutes). Without one it says so and
writes nothing. `--device cuda:1` measures another GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.corpus.works import Work
from creditline.device_setting import CPU, CUDA
from creditline.devices import Device, choose_device
from creditline.errors import CreditlineError
from creditline.generator.assembly import assemble_reference
from creditline.generator.losses import Draws, Examples, denoising_losses, encoded_examples
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from creditline.towers.towers import Towers
from tests.benchmarks.result_files import Figure, describe_machine, write_result

COMMAND = "python -m tests.benchmarks.device_speed"
NAME = "device-speed"
DRAWS = Draws(timesteps=10, repeats=2, salt="speed", mirrored=True)
_WORKS, _RUNS = 64, 5
_PROMPTS = [f"a drawing of {what}" for what in ("a cat", "a boat", "a tree", "a house")]


@dataclass(frozen=True)
class Measured:
    """One kind of work on one device. seconds: of each run; per_run: items of a run; values: its numbers."""

    seconds: tuple[float, ...]
    per_run: int
    values: np.ndarray

    def rate(self) -> float:
        """Items a second, by the median run."""
        return self.per_run / float(np.median(self.seconds))


def timed(call: Callable[[], np.ndarray], per_run: int, runs: int) -> Measured:
    """The call's seconds after one call to warm up; what it gives is on the host, so nothing is under way."""
    values, seconds = call(), []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return Measured(tuple(seconds), per_run, values)


def measure(directory: Path, works: Sequence[Work], device: str, runs: int = _RUNS) -> dict[str, Measured]:
    """Everything that runs on a device, by name."""
    pictures, captions = [work.picture() for work in works], [work.caption for work in works]
    towers = Towers.open(device=device)
    with Generator.open(directory, device=device) as generator:
        examples = encoded_examples(generator, [work.id for work in works], pictures, captions)
        calls: dict[str, tuple[Callable[[], np.ndarray], int]] = {
            "losses": (lambda: _losses(generator, examples), len(works) * len(DRAWS)),
            "gradients": (lambda: _gradients(generator, examples), len(works) * len(DRAWS)),
            "pictures": (lambda: _pixels(generator.sample(_PROMPTS, range(len(_PROMPTS)))), len(_PROMPTS)),
            "embeddings": (lambda: towers.features(pictures, captions), len(works)),
        }
        return {name: timed(call, per_run, runs) for name, (call, per_run) in calls.items()}


def _losses(generator: Generator, examples: Examples) -> np.ndarray:
    return denoising_losses(generator, examples, DRAWS).cpu().numpy()


def _gradients(generator: Generator, examples: Examples) -> np.ndarray:
    layers = chosen_layers(generator.unet, "cross-attn")
    return per_sample_gradients(generator, examples, DRAWS, layers).cpu().numpy()


def _pixels(pictures: Sequence[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest absolute difference over the largest absolute value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def figures_of(host: dict[str, Measured], gpu: dict[str, Measured]) -> dict[str, Figure]:
    """How many times as fast the GPU is, and how far its numbers are from the processor's."""
    figures = {}
    for name, measured in gpu.items():
        slowest, fastest = max(measured.seconds), min(measured.seconds)
        figures[f"{name}_speedup"] = Figure(
            measured.rate() / host[name].rate(),
            "times",
            low=measured.per_run / slowest / host[name].rate(),
            high=measured.per_run / fastest / host[name].rate(),
            what=f"{name} a second on the GPU over those on the processor",
        )
        figures[f"{name}_difference"] = Figure(
            difference(measured.values, host[name].values),
            what=f"largest difference of {name} between the devices, relative to the largest value",
        )
    return figures


def rows_of(devices: dict[str, dict[str, Measured]]) -> list[dict[str, Any]]:
    """One row for each device and kind of work."""
    return [
        {"device": device, "work": name, "items_per_second": measured.rate()}
        for device, found in devices.items()
        for name, measured in found.items()
    ]


def machine(gpu: Device) -> str:
    """The machine with the GPU and what drives it."""
    return f"{describe_machine()}, {gpu.model}, torch {torch.__version__}, CUDA {torch.version.cuda}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the result; 2 without a GPU."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--device", default=CUDA, help="the GPU: cuda or cuda:N")
    given = parser.parse_args(arguments)
    try:
        gpu = choose_device(given.device)
    except CreditlineError as error:
        print(f"nothing is measured: {error.message}", file=sys.stderr)
        return 2
    if not gpu.is_gpu:
        print(f"nothing is measured: {given.device} is no GPU", file=sys.stderr)
        return 2
    works = reference_corpus().works[:_WORKS]
    with tempfile.TemporaryDirectory() as scratch:
        directory = assemble_reference(Path(scratch) / "generator")
        devices = {str(name): measure(directory, works, name) for name in (CPU, gpu.name)}
    figures = figures_of(devices[CPU], devices[gpu.name])
    print(write_result(NAME, COMMAND, 0, figures, rows_of(devices), machine=machine(gpu)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
