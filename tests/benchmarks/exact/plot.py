"""The plot of predicted against measured rises of the queries' losses."""

from __future__ import annotations

import matplotlib
import numpy as np

from creditline.evaluation.lab.exact.plan import RANDOM
from creditline.evaluation.lab.exact.record import ExactRecord
from tests.benchmarks.lab_plots import IMAGES

matplotlib.use("Agg")

from matplotlib import pyplot

_COLOURS = {"random works": "#c9a66b", "works of the largest predicted rises": "#1f5f8b"}


def plot_verification(record: ExactRecord) -> None:
    """A point for each set and query; the two kinds of sets in a panel each, with the diagonal."""
    random = np.array([one.reason == RANDOM for one in record.sets])
    predicted, measured = record.predicted(record.effects), record.measured(len(record.effects))
    figure, panels = pyplot.subplots(1, 2, figsize=(8, 4), layout="constrained")
    for axes, (label, colour), rows in zip(panels, _COLOURS.items(), (random, ~random), strict=True):
        across, down = 100 * predicted[rows].ravel(), 100 * measured[rows].ravel()
        ends = min(across.min(), down.min()), max(across.max(), down.max())
        axes.plot(ends, ends, color="#999999", linestyle="--", linewidth=1)
        axes.scatter(across, down, s=10, color=colour, alpha=0.7, linewidths=0)
        axes.set_title(f"without {label}", fontsize=10)
        axes.set_xlabel("predicted rise of the query's loss, % of a mean loss", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("measured rise", fontsize=9)
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "exact-verification.png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
