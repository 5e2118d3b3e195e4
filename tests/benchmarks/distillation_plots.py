"""The plots of distillation, for its page: labels against agreement, width, reliability.

Run after the benchmarks, it draws the first two from their result file.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from numpy.typing import NDArray

from creditline.distillation.training.recipes import OURS, RECIPES
from tests.benchmarks.result_files import RESULTS_DIRECTORY, read_result

matplotlib.use("Agg")

from matplotlib import pyplot

IMAGES = RESULTS_DIRECTORY / "images"
_OURS, _FAINT = "#1f5f8b", "#999999"


def plot_label_efficiency(counts: Sequence[int], lds: Sequence[float], teacher: float, raw: float) -> None:
    """LDS by how many labelled pictures were learnt from, between the best raw feature and the teacher."""
    figure, axes = pyplot.subplots(figsize=(5.2, 3.2), layout="constrained")
    for value, words in ((teacher, "teacher"), (raw, "best raw feature")):
        axes.axhline(value, color=_FAINT, linestyle="--", linewidth=1)
        axes.text(counts[0], value + 0.004, words, fontsize=8, color="#555555")
    axes.plot(counts, lds, marker="o", color=_OURS)
    axes.set_xscale("log")
    axes.set_xticks(list(counts), [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("labelled pictures")
    axes.set_ylabel("LDS on the lab")
    _save(figure, axes, "distillation-labels.png")


def plot_widths(widths: Sequence[int], ndcg: Sequence[float], raw: float) -> None:
    """Agreement with the teacher by how many numbers of a vector are kept, and what they cost in memory."""
    figure, axes = pyplot.subplots(figsize=(5.2, 3.2), layout="constrained")
    axes.axhline(raw, color=_FAINT, linestyle="--", linewidth=1)
    axes.text(widths[0], raw + 0.004, "best raw feature (2,432 numbers)", fontsize=8, color="#555555")
    axes.plot(widths, ndcg, marker="o", color=_OURS)
    axes.set_xticks(list(widths), [f"{width}\n{width} B int8" for width in widths])
    axes.set_xlabel("numbers, and bytes of a work in memory")
    axes.set_ylabel("nDCG@100 with the teacher")
    _save(figure, axes, "distillation-widths.png")


def plot_reliability(expected: NDArray[np.float64], truth: NDArray[np.float64], bins: int = 20) -> None:
    """Works by the share that is expected of them: what the teacher found, bin by bin. Both (Q, N)."""
    order = np.argsort(-expected.ravel())
    ends = np.unique(np.geomspace(50, len(order), bins).astype(int))
    parts = np.split(order, ends[:-1])
    across = [float(expected.ravel()[rows].mean()) for rows in parts]
    down = [float(truth.ravel()[rows].mean()) for rows in parts]
    figure, axes = pyplot.subplots(figsize=(4.2, 3.8), layout="constrained")
    least, most = min(*across, *down, 1.0), max(*across, *down)
    axes.plot([least, most], [least, most], color=_FAINT, linestyle="--", linewidth=1)
    axes.plot(across, down, marker="o", linestyle="none", color=_OURS, markersize=4)
    axes.set_xscale("symlog", linthresh=1e-4)
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.set_xlabel("share that is expected")
    axes.set_ylabel("share that the teacher finds, mean")
    _save(figure, axes, "distillation-reliability.png")


def _save(figure: pyplot.Figure, axes: pyplot.Axes, name: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / name, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    rows = read_result(RESULTS_DIRECTORY / "distillation.json").rows
    lds = {row["recipe"]: row["lds"] for row in rows if row.get("recipe")}
    ndcg = {row["reference"]: row["ndcg100"] for row in rows if row.get("reference")}
    counts = [row for row in rows if row.get("queries")]
    plot_label_efficiency(
        [row["queries"] for row in counts],
        [row["lds"] for row in counts],
        lds["teacher"],
        max(value for name, value in lds.items() if name.startswith("raw")),
    )
    plan = RECIPES[OURS]
    names = {plan.width: OURS} | {width: f"{OURS}, {width} numbers" for width in plan.nested}
    plot_widths(
        sorted(names),
        [ndcg[names[width]] for width in sorted(names)],
        max(value for name, value in ndcg.items() if name.startswith("raw")),
    )


if __name__ == "__main__":
    main()
