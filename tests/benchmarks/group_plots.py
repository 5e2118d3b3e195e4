"""The plot of contributors, for the lab's README."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np

from creditline.evaluation.lab.judging.groups import GroupAgreement
from tests.benchmarks.lab_plots import IMAGES

matplotlib.use("Agg")

from matplotlib import pyplot

_QUESTIONS = {"by_query": "whom a picture owes", "by_contributor": "which pictures owe one"}
_OURS, _RIVAL, _OTHER = "#1f5f8b", "#b5523b", "#999999"


def plot_groups(agreements: Mapping[str, GroupAgreement], ours: str, rival: str) -> None:
    """A point with its interval for each way and question; both panels have the ways in the first's order.

    Args:
        agreements: Agreement by the name of the way.
        ours: Start of the names of the served shares.
        rival: Start of the names of the rival.
    """
    names = sorted(agreements, key=lambda name: agreements[name].by_query.value)
    figure, panels = pyplot.subplots(
        1, 2, figsize=(10, 0.34 * len(names) + 1.1), layout="constrained", sharey=True
    )
    for panel, (key, question) in zip(panels, _QUESTIONS.items(), strict=True):
        for place, name in enumerate(names):
            estimate = getattr(agreements[name], key)
            if estimate.low == estimate.high:  # The same for every picture: there is no correlation.
                continue
            colour = _OURS if name.startswith(ours) else _RIVAL if name.startswith(rival) else _OTHER
            panel.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=2)
            panel.plot(estimate.value, place, "o", color=colour, markersize=5)
        panel.axvline(0.0, color="#333333", linewidth=0.8)
        panel.set_title(question, fontsize=10)
        panel.set_xlabel("rank correlation, 95 % interval")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(np.arange(len(names)), names)
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "lab-groups.png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
