"""Part of `make lab`: exact effects against retraining, and every method against exact effects (seconds).

Writes `exact.json` and its plot from what is committed. `creditline lab exact effects` makes the effects
and retrains without small sets of works; `creditline lab exact score METHOD…` runs methods on the same model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.methods.hyperparameters import CONSENSUSES, SHARPENED
from creditline.evaluation.bootstrap import Estimate, bootstrap
from creditline.evaluation.lab.exact.comparison import (
    SEED,
    crossed_ratio,
    mean_over_queries,
    pooled_correlation,
    rank_agreement,
    removal_agreement,
)
from creditline.evaluation.lab.exact.plan import RANDOM
from creditline.evaluation.lab.exact.record import EXACT, ExactRecord, read_exact
from creditline.evaluation.lab.exact.scores import ExactScores, joined_scores, read_all_exact_scores
from creditline.evaluation.lab.exact.smoothness import (
    JudgedTraining,
    judged_training,
    smooth_gain,
    thinned,
)
from creditline.evaluation.lab.judging.kernels import read_kernel
from creditline.evaluation.lab.judging.scoring import read_all_scores
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.setting import REFERENCE
from creditline.tensor_files import read_arrays
from tests.benchmarks.exact.plot import plot_verification
from tests.benchmarks.lab import kind_of
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
# What the figures with a target need: queries, sets, and the published methods that lead the lab's table.
QUERIES, SETS = 16, 20
LEADING = ("abu-plus-attn", "abu-plus", "d-trak", "das", "trak", "influence-ekfac")
# The methods by which the two trainings are compared.
GRADIENT_METHODS = ("d-trak", "das", "trak", "influence-noise", "influence-ekfac")


def all_scores(record: ExactRecord) -> dict[str, ExactScores]:
    """Scores of the methods that ran, and of each consensus of them with the lab's weights."""
    scores = read_all_exact_scores(record, EXACT / "scores")
    for name, weights in CONSENSUSES.items():
        if set(weights) <= set(scores):
            scores[name] = joined_scores(name, scores, weights, *SHARPENED.get(name, ({}, 1.0)))
    return scores


def row(record: ExactRecord, scores: ExactScores) -> dict[str, Any]:
    """A method's row."""
    ranks = mean_over_queries(rank_agreement(record, scores.values))
    removals = mean_over_queries(removal_agreement(record, scores.values))
    return {
        "method": scores.method,
        "kind": kind_of(scores.method),
        "rank": ranks.value,
        "rank_low": ranks.low,
        "rank_high": ranks.high,
        "removals": removals.value,
        "removals_low": removals.low,
        "removals_high": removals.high,
        "queries": len(record.effects),
        "seconds_per_query": scores.cost.seconds_per_query,
    }


def exact_row(record: ExactRecord) -> dict[str, Any]:
    """The row of the exact effects themselves: what a method could attain at most."""
    removals = mean_over_queries(removal_agreement(record, record.effects))
    return {
        "method": "exact effects",
        "kind": "bound",
        "rank": 1.0,
        "removals": removals.value,
        "removals_low": removals.low,
        "removals_high": removals.high,
        "queries": len(record.effects),
    }


def figures(record: ExactRecord, agreement: Mapping[str, NDArray[np.float64]]) -> dict[str, Figure]:
    """The issue's figures, and those that stand beside them.

    Args:
        record: The exact effects.
        agreement: Rank agreement of each method by query, (Q,) each.
    """
    ours, published = (
        {name: values for name, values in agreement.items() if kind_of(name) == kind}
        for kind in ("ours", "published")
    )
    random = [number for number, one in enumerate(record.sets) if one.reason == RANDOM]
    chosen = [number for number in range(len(record.sets)) if number not in random]
    control = mean_over_queries(agreement[RANDOM])
    verified = len(record.effects) >= QUERIES and len(record.sets) >= SETS
    missing = [name for name in LEADING if name not in agreement]
    so_far = f"{len(record.effects)} of {QUERIES} queries and {len(record.sets)} of {SETS} sets so far"
    without = f", without {', '.join(missing)}" if missing else ""
    return {
        "verified_correlation": _figure(
            pooled_correlation(record),
            ">= 0.95" if verified else None,
            f"exact effects against retraining without sets of 1 to 5 works, Pearson over"
            f" {len(record.sets)} × {len(record.effects)} pairs" + ("" if verified else f" ({so_far})"),
        ),
        "verified_correlation_random_sets": _figure(
            pooled_correlation(record, random), None, "the same, random sets alone"
        ),
        "verified_correlation_chosen_sets": _figure(
            pooled_correlation(record, chosen), None, "the same, sets of the largest predicted rises alone"
        ),
        "verified_correlation_by_query": _figure(
            mean_over_queries(removal_agreement(record, record.effects)),
            None,
            "the same within each query, mean over the queries",
        ),
        "best_over_published": _figure(
            crossed_ratio(ours, published),
            ">= 1.1" if verified and not missing else None,
            "our best over the best published method, against exact effects; each chosen on the other half of"
            " the queries" + ("" if verified and not missing else f" ({so_far}{without})"),
        ),
        "random_rank_correlation": _figure(control, None, "control: random scores (must cover 0)"),
    }


def _figure(estimate: Estimate, target: str | None, what: str) -> Figure:
    return Figure(estimate.value, low=estimate.low, high=estimate.high, target=target, what=what)


def smoothness_figures() -> dict[str, Figure]:
    """The figures of the smoother training; none before its models are trained and scored."""
    folder = EXACT / "smooth"
    if not (folder / "percentiles.safetensors").is_file():
        return {}
    smooth, usual = (read_record(place / "record.safetensors") for place in (folder, REFERENCE))
    judged = [_judged(smooth, folder, smooth), _judged(usual, REFERENCE, thinned(usual, len(smooth.subsets)))]
    percentiles = {
        name: _median(values) for name, values in read_arrays(folder / "percentiles.safetensors")[0].items()
    }
    shown = ", ".join(
        f"{name} {one:.3f} (usual {judged[1].lds()[name]:.3f})" for name, one in judged[0].lds().items()
    )
    return {
        "smooth_gain": _figure(
            smooth_gain(*judged), ">= 1.2", f"gradient methods' LDS, smoother training over usual: {shown}"
        ),
        "own_work_percentile_smooth": _figure(
            percentiles["smooth"], None, "prompt = a work's caption: median percentile of that work, smoother"
        ),
        "own_work_percentile_usual": _figure(percentiles["usual"], None, "the same, usual training"),
    }


def _median(values: NDArray[np.float64]) -> Estimate:
    return bootstrap(lambda rows: float(np.median(values[rows])), len(values), seed=SEED)


def _judged(whole: LabRecord, folder: Path, record: LabRecord) -> JudgedTraining:
    scores = read_all_scores(folder / "scores", whole)
    kernels = {path.stem: read_kernel(path, whole) for path in sorted((folder / "kernels").glob("*"))}
    return judged_training(record, GRADIENT_METHODS, scores, kernels)


def main() -> None:
    record = read_exact()
    scores = all_scores(record)
    agreement = {name: rank_agreement(record, one.values) for name, one in scores.items()}
    rows = sorted((row(record, one) for one in scores.values()), key=lambda one: -one["rank"])
    found = figures(record, agreement) | smoothness_figures()
    write_result("exact", COMMAND, SEED, found, [exact_row(record), *rows])
    plot_verification(record)


if __name__ == "__main__":
    main()
