"""The index's plots, for its README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

from tests.benchmarks.result_files import RESULTS_DIRECTORY

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

IMAGES = RESULTS_DIRECTORY / "images"
_COLOURS = {"Qdrant Edge, int8": "#1f5f8b", "Faiss HNSW, fp32": "#c9a66b"}


def plot_recall(rows: Sequence[Mapping[str, Any]]) -> None:
    """Recall against milliseconds, a line for each engine."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    for engine, colour in _COLOURS.items():
        own = sorted((row for row in rows if row["engine"] == engine), key=lambda row: row["ef"])
        times, recalls = [row["p50_ms"] for row in own], [row["recall100"] for row in own]
        axes.plot(times, recalls, marker="o", markersize=4, color=colour, label=engine)
        for row, right in ((own[0], False), (own[-1], True)):
            axes.annotate(
                f"ef {row['ef']}",
                (row["p50_ms"], row["recall100"]),
                xytext=(-4 if right else 5, -12),
                textcoords="offset points",
                ha="right" if right else "left",
                fontsize=8,
                color=colour,
            )
    axes.axhline(0.97, color="#999999", linewidth=0.8, linestyle="--")
    axes.set_xlabel("milliseconds for the best 100 of 1M works (median, one thread)")
    axes.set_ylabel("recall@100")
    axes.legend(frameon=False, loc="lower right")
    _save(figure, axes, "index-recall.png")


def plot_growth(rows: Sequence[Mapping[str, Any]]) -> None:
    """Milliseconds against works: our layer, with a filter, and the engine alone."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
    works = [row["works"] for row in rows]
    for key, label, colour in (
        ("p50_filtered_ms", "our layer, half of the works pass a filter", "#7a9e7e"),
        ("p50_ms", "our layer", "#1f5f8b"),
        ("bare_p50_ms", "the engine alone", "#999999"),
    ):
        axes.plot(works, [row[key] for row in rows], marker="o", markersize=4, label=label, color=colour)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("works")
    axes.set_ylabel("milliseconds (median)")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, axes, "index-growth.png")


def plot_ingest(rows: Sequence[Mapping[str, Any]]) -> None:
    """Works a second of each way to load, with the least and the most."""
    figure, axes = pyplot.subplots(figsize=(6.4, 2.4), layout="constrained")
    shown = list(rows)[::-1]
    rates = [row["works_per_second"] for row in shown]
    errors = [
        [row["works_per_second"] - row["least"] for row in shown],
        [row["most"] - row["works_per_second"] for row in shown],
    ]
    colours = ["#1f5f8b" if "loader" in row["loading"] else "#999999" for row in shown]
    axes.barh(
        [row["loading"] for row in shown], rates, xerr=errors, color=colours, error_kw={"elinewidth": 1}
    )
    axes.set_xlabel("works a second")
    _save(figure, axes, "index-ingest.png")


def _save(figure: Figure, axes: Axes, name: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / name, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
