"""Swapped prompts found by the generator's own loss, beside the agreement that answers state (five minutes).

`python -m tests.benchmarks.serving.prompt_losses` measures on the first held-out pictures of the reference
generator, with one thread.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from creditline.distillation.assessment.prompt_losses import DRAWS, prompt_loss_figures
from creditline.distillation.labels.label_set import HELD_OUT, read_labels
from creditline.errors import FingerprintMismatch
from creditline.evaluation.bootstrap import Estimate
from creditline.generator.pipeline import Generator
from tests.benchmarks.reference_parts import generator_directory
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "python -m tests.benchmarks.serving.prompt_losses"
SEED = 17
_PICTURES = 100
_LABELS = Path(__file__).parents[1] / "reference-labels"
_WHAT = {
    "prompt_swap_found_by_loss": "prompts swapped for another query's, drawn uniformly, flagged at 5 % false"
    " alarms by the generator's loss against that without a prompt",
    "prompt_swap_false_alarms_by_loss": "genuine pairs flagged, judged by the other half of them",
    "prompt_swap_auroc_by_loss": "genuine pairs against swapped ones",
}


def _figure(estimate: Estimate, what: str) -> Figure:
    """A figure as result files hold it; without an interval where all pairs have the same value."""
    low, high = (estimate.low, estimate.high) if estimate.low < estimate.high else (None, None)
    return Figure(estimate.value, "share", low, high, what=what)


def main() -> None:
    """Measure, and write the figures."""
    torch.set_num_threads(1)
    labels = read_labels(_LABELS)
    generator = Generator.open(generator_directory(None))
    if generator.fingerprint != labels.generator_fingerprint:
        raise FingerprintMismatch(
            f"the labels' pictures are of generator {labels.generator_fingerprint[:16]}…, not of"
            f" {generator.fingerprint[:16]}…; check out the files that belong together",
            field="generator",
        )
    queries = [labels.queries[row] for row in labels.rows(HELD_OUT)[:_PICTURES]]
    started = time.perf_counter()
    found = prompt_loss_figures(generator, queries, seed=SEED)
    # With its own prompt, with another one, and without.
    passes = 3 * len(queries) * len(DRAWS)
    seconds = time.perf_counter() - started
    pair = 2 * len(DRAWS) * seconds / passes
    cost = f"{2 * len(DRAWS)} passes or {pair:.2f} s a pair, one thread"
    note = f"{len(queries)} held-out generated pictures, {cost}"
    figures = {name: _figure(value, f"{_WHAT[name]}; {note}") for name, value in found.items()}
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.3f} ({figure.low} to {figure.high})  {figure.what}")
    write_result("serving", COMMAND, SEED, figures, [], merge=True)


if __name__ == "__main__":
    main()
