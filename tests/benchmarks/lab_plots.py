"""The lab's plots, for the README."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from numpy.typing import NDArray

from creditline.evaluation.bootstrap import Estimate
from tests.benchmarks.result_files import RESULTS_DIRECTORY

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.patches import Patch

if TYPE_CHECKING:
    from tests.benchmarks.lab import Judged

IMAGES = RESULTS_DIRECTORY / "images"
_COLOURS = {"ours": "#1f5f8b", "published": "#7a9e7e", "similarity": "#c9a66b", "control": "#999999"}


def plot_scores(judged: list[Judged], agreement: Estimate, attainable: Estimate) -> None:
    """A bar for each method with its interval, a point where it stands when sharpened, and both limits."""
    rows = judged[::-1]
    figure, axes = pyplot.subplots(figsize=(8.5, 0.3 * len(rows) + 1.6), layout="constrained")
    values = [row.generated.value for row in rows]
    errors = [
        [row.generated.value - row.generated.low for row in rows],
        [row.generated.high - row.generated.value for row in rows],
    ]
    places = np.arange(len(rows))
    axes.barh(
        places,
        values,
        xerr=errors,
        color=[_COLOURS[row.kind] for row in rows],
        error_kw={"elinewidth": 1, "ecolor": "#333333"},
    )
    sharp = [(place, row.sharpened) for place, row in zip(places, rows, strict=True) if row.power != 1.0]
    points = axes.plot(
        [value for _, value in sharp],
        [place for place, _ in sharp],
        "D",
        color="#b3412f",
        markersize=4,
        linestyle="",
        label="sharpened",
    )
    axes.set_yticks(places, [_label(row) for row in rows], fontsize=9)
    for limit, text in ((agreement, "one seed against the other"), (attainable, "attainable")):
        axes.axvspan(limit.low, limit.high, color="#dddddd", zorder=0)
        axes.axvline(limit.value, color="#555555", linestyle="--", linewidth=1)
        axes.text(limit.value - 0.008, len(rows) - 0.2, text, ha="right", fontsize=8)
    axes.axvline(0.0, color="#333333", linewidth=0.8)
    axes.set_ylim(-0.7, len(rows) + 0.5)
    axes.set_xlabel(
        f"linear datamodelling score on the same {rows[0].queries} generated pictures, with 95 % interval"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        handles=[*(Patch(color=colour, label=kind) for kind, colour in _COLOURS.items()), *points],
        loc="lower right",
        bbox_to_anchor=(0.78, 0.02),
        frameon=False,
    )
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "lab-lds.png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _label(row: Judged) -> str:
    """The method's name, with its noise where that was chosen to be common."""
    common = row.by_noise.get("common")
    chosen = common is not None and abs(row.generated.value - common) < 1e-9
    return f"{row.name} (common noise)" if chosen else row.name


def plot_expected_changes(
    methods: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]], bins: int = 10
) -> None:
    """For each method: measured differences of loss against foretold ones, in bins of as many each.

    methods: (name, foretold (M, Q), measured (M, Q)), both less their means over the subsets.
    """
    figure, panels = pyplot.subplots(
        1, len(methods), figsize=(3.2 * len(methods), 3.2), layout="constrained", sharex=True, sharey=True
    )
    for axes, (name, predicted, measured) in zip(panels, methods, strict=True):
        order = np.argsort(predicted.ravel())
        parts = [(predicted.ravel()[part], measured.ravel()[part]) for part in np.array_split(order, bins)]
        across = [float(ours.mean()) for ours, _ in parts]
        down = [float(truth.mean()) for _, truth in parts]
        errors = [1.96 * float(truth.std()) / len(truth) ** 0.5 for _, truth in parts]
        reach = max(0.02, 1.1 * max(map(abs, across + down)))
        axes.plot([-reach, reach], [-reach, reach], color="#999999", linestyle="--", linewidth=1)
        axes.errorbar(across, down, yerr=errors, fmt="o", color=_COLOURS["ours"], markersize=4, linewidth=1)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("foretold ΔL (part of the loss)", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("measured ΔL", fontsize=9)
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "one-unit.png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
