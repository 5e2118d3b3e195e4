"""The attribution library beside its rivals, and what it holds of itself: `attributors.json`.

The rivals are not ours to install: give an interpreter that has traker and kronfluence (and this package's
own dependencies) by `--rivals PYTHON` or the variable RIVALS; without it their figures stay as they were.
Full size is measured by `python -m tests.benchmarks.full_size`, into the same file.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray

from creditline.attribution.fisher.ekfac import fit_ekfac
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.gradients.projection import Rademacher
from creditline.attribution.methods.trak import trak_scores
from creditline.attribution.unlearning.forgetting import NaturalAscent
from creditline.evaluation.agreement import best_first
from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.setting import REFERENCE, LabSetting, open_setting
from creditline.generator.losses import Draws, Examples, denoising_losses
from creditline.generator.reference import reference_corpus
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result

COMMAND = "python -m tests.benchmarks.attributors --rivals PYTHON"
SEED = 17
BATCHES = (1, 7, 64)
FIRST = 100
# One draw a work, so that the works of a batch really go through the UNet together.
DRAW = Draws(timesteps=1, repeats=1, salt="batches")
_QUERIES = (0, 40, 80)
_PROJECTED, _SIZE, _ROWS = 5_000_000, 32_768, 4


def rival_figure(python: str, module: str, *, target: str, what: str) -> Figure:
    """Ours over theirs in works per second: median of the runs' ratios, and the least and the most."""
    done = subprocess.run(
        [python, "-m", f"tests.benchmarks.rivals.{module}"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'services'}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = json.loads(done.stdout.splitlines()[-1])
    ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], seconds["theirs"], strict=True)]
    shown = f"{statistics.median(seconds['ours']):.3g} s, theirs {statistics.median(seconds['theirs']):.3g} s"
    return Figure(
        statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        target=target,
        what=f"{what} ({seconds['works']} works; ours {shown})",
    )


def in_batches(
    of: Callable[[Examples], NDArray[np.float32]], examples: Examples, size: int
) -> NDArray[np.float32]:
    """Rows of all examples, so many at a time."""
    parts = [range(start, min(start + size, len(examples))) for start in range(0, len(examples), size)]
    return np.concatenate([of(examples.rows(part)) for part in parts])


def kernel_scores(setting: LabSetting, size: int) -> NDArray[np.float64]:
    """TRAK's scores from gradients that were taken `size` works at a time: (queries, N)."""
    layers = chosen_layers(setting.generator.unet, "cross-attn")

    def gradients(examples: Examples) -> NDArray[np.float32]:
        return per_sample_gradients(setting.generator, examples, DRAW, layers).numpy()

    works = in_batches(gradients, setting.works.examples, size)
    return trak_scores(gradients(setting.queries.examples.rows(_QUERIES)), works, 0.5)


def unlearning_scores(setting: LabSetting, size: int) -> NDArray[np.float64]:
    """AbU+'s scores from losses that were taken `size` works at a time: (queries, N)."""
    generator, works = setting.generator, setting.works.examples
    fisher = fit_ekfac(generator, works.rows(range(64)), DRAW, chosen_layers(generator.unet, "cross-attn"))

    def losses() -> NDArray[np.float64]:
        taken = in_batches(lambda part: denoising_losses(generator, part, DRAW).numpy(), works, size)
        return taken.astype(np.float64).mean(axis=1)

    before, scores = losses(), []
    for row in _QUERIES:
        with NaturalAscent(fisher).forget(generator, setting.queries.examples.rows([row])):
            scores.append(losses() - before)
    return np.stack(scores)


def batch_invariance() -> Figure:
    """How far scores move with the batch size, in units of their spread over the works."""
    record = read_record(REFERENCE / "record.safetensors")
    with open_setting(record, reference_corpus()) as setting:
        by_method = [
            [scores(setting, size) for size in BATCHES] for scores in (kernel_scores, unlearning_scores)
        ]
    moved = max(moved_by(scores) for scores in by_method)
    same = all(same_first(scores) for scores in by_method)
    return Figure(
        moved if same else float("nan"),
        target="<= 0.001",
        what=f"largest difference between batches of {', '.join(map(str, BATCHES))}, in the scores'"
        f" deviations, TRAK and AbU+; the first {FIRST} are {'the same' if same else 'NOT the same'}",
    )


def moved_by(scores: Sequence[NDArray[np.float64]]) -> float:
    """The largest difference from the first, over the first's deviation in the same query."""
    spread = scores[0].std(axis=1, keepdims=True)
    return max(float(np.abs((other - scores[0]) / spread).max()) for other in scores[1:])


def same_first(scores: Sequence[NDArray[np.float64]]) -> bool:
    """Whether every query has the same first works at all batch sizes."""
    return all(
        set(best_first(ours)[:FIRST]) == set(best_first(theirs)[:FIRST])
        for other in scores[1:]
        for ours, theirs in zip(other, scores[0], strict=True)
    )


def projected_peak() -> float:
    """GiB that a process has had at most which projects rows of 5 million numbers to 32,768."""
    draw = torch.Generator().manual_seed(SEED)
    rows = torch.randn(_ROWS, _PROJECTED, generator=draw)
    projected = Rademacher(_PROJECTED, _SIZE, seed=SEED).project(rows)
    lengths = projected.norm(dim=1) / rows.norm(dim=1)
    if not torch.allclose(lengths, torch.ones(_ROWS), atol=0.05):
        raise AssertionError(f"projected lengths are {lengths.tolist()} of the rows'")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def projection_memory() -> Figure:
    """In a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        peak = pool.apply(projected_peak)
    return Figure(
        peak,
        "GiB",
        target="<= 2",
        what=f"peak of a whole process projecting {_ROWS} rows of 5 million numbers to 32,768",
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rivals", default=os.environ.get("RIVALS"), help="an interpreter that has the rivals"
    )
    python = parser.parse_args(arguments).rivals
    torch.set_num_threads(1)
    figures = {"projection_gib": projection_memory(), "batch_invariance_sd": batch_invariance()}
    if python is None:
        print("no --rivals PYTHON: traker and kronfluence are not measured", file=sys.stderr)
    else:
        figures |= {
            "features_over_traker": rival_figure(
                python,
                "traker_features",
                target=">= 2",
                what="per-sample gradients and projection, ours over traker's fastest on a CPU",
            ),
            "ekfac_over_kronfluence": rival_figure(
                python, "kronfluence_factors", target=">= 1", what="EK-FAC factors, ours over kronfluence's"
            ),
        }
    write_result("attributors", COMMAND, SEED, figures, merge=True)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.4g} {figure.unit} (target {figure.target})")


if __name__ == "__main__":
    main(sys.argv[1:])
