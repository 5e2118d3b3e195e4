"""The curve as a picture: LDS against bytes per work, one panel for each kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from tests.benchmarks.result_files import RESULTS_DIRECTORY
from tests.benchmarks.sketches.curve import CONSENSUS, KEPT, KERNELS

PICTURE = RESULTS_DIRECTORY / "images" / "sketches.png"
# (compression, format, colour, marker, line)
_SERIES = (
    ("SJLT", "float32", "#9ecae1", "o", "-"),
    ("SJLT", "int8", "#2171b5", "o", "-"),
    ("SJLT", "int4", "#08306b", "o", "-"),
    ("SJLT", "sign", "#810f7c", "o", "-"),
    ("SJLT pair", None, "#d6616b", "P", ""),
    ("SJLT, 4 non-zeros", "int8", "#2171b5", "*", ""),
    ("GraSS", "int8", "#31a354", "s", ":"),
    ("mask", "int8", "#a1d99b", "s", ":"),
    ("FactGraSS", "int8", "#756bb1", "^", ""),
    ("LoGRA", "int8", "#e6550d", "D", "--"),
    ("LoRIF", "int8", "#fdae6b", "v", ""),
    ("permuted sign sum", "float32", "#636363", "x", ""),
    ("random rows", "int8", "#d62728", "x", ""),
)


def draw(rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the curve of all kernels."""
    figure, panels = pyplot.subplots(2, 2, figsize=(11, 8), sharey=True)
    for kernel, panel in zip(KERNELS, panels.flat, strict=True):
        _panel(panel, kernel, [row for row in rows if row["kernel"] == kernel])
    handles, labels = panels.flat[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=5, fontsize=8, frameon=False)
    figure.supylabel("LDS, generated queries, judging subsets")
    figure.tight_layout(rect=(0.01, 0.08, 1, 1))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)


def _panel(panel: Axes, kernel: str, rows: Sequence[Mapping[str, Any]]) -> None:
    exact = next(row for row in rows if row["compression"] == "exact")
    panel.axhline(exact["lds"], color="black", lw=1, label="exact rows")
    panel.axhspan(KEPT * exact["lds"], exact["lds"], color="black", alpha=0.08, label="2 % of it")
    for name, form, colour, marker, line in _SERIES:
        points = sorted(
            (row["bytes_per_work"], row["lds"])
            for row in rows
            if row["compression"] == name and form in (row["format"], None)
        )
        if not points:
            continue
        panel.plot(
            *zip(*points, strict=True),
            linestyle=line or "none",
            color=colour,
            marker=marker,
            ms=5,
            lw=1.2,
            label=f"{name}, {form}" if form else name,
        )
    title = "consensus, two rows" if kernel == CONSENSUS else kernel
    panel.set(xscale="log", title=f"{title} (exact: {exact['bytes_per_work']:,.0f} bytes)")
    panel.set_xlabel("bytes per work")
    panel.grid(alpha=0.3)
