"""The panels of the Grafana dashboard, drawn from Prometheus into one picture.

`python -m tests.benchmarks.load.dashboard_picture --prometheus http://HOST:9090 --minutes 60 picture.png`
draws a deployment's last hour; the load run (`tests.benchmarks.load.dashboard`) draws itself.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, MultipleLocator

from tests.benchmarks.result_files import REPOSITORY
from tests.real_parts.prometheus import Prometheus

DASHBOARD = REPOSITORY / "deploy" / "grafana" / "creditline.json"
_COLUMNS = 4
_GRID_WIDTH = 24
_PANEL_INCHES = (4.4, 2.75)
_ROW_INCHES = 0.42
_POINTS = 240
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_MIB, _KIB = 1 << 20, 1 << 10


@dataclass(frozen=True)
class Series:
    """One line of a panel."""

    label: str
    """Its legend."""
    times: list[float]
    """Seconds since the start."""
    values: list[float]
    """Values at these times; NaN where there was none."""


@dataclass(frozen=True)
class Panel:
    """One panel with its data."""

    title: str
    unit: str
    column: int
    series: list[Series]


@dataclass(frozen=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: list[Panel]


def read_rows(
    prometheus: Prometheus, start: float, end: float, *, rate_seconds: int, dashboard: Path = DASHBOARD
) -> list[Row]:
    """Ask Prometheus for the data of every panel.

    Args:
        prometheus: The server.
        start: Start of the range, in seconds since 1970.
        end: End of the range.
        rate_seconds: What `$__rate_interval` stands for: four scrapes at least.
        dashboard: The dashboard.
    """
    rows: list[Row] = []
    for panel in json.loads(dashboard.read_text())["panels"]:
        if panel["type"] == "row":
            rows.append(Row(panel["title"], []))
            continue
        series = [
            each
            for target in panel["targets"]
            for each in _read_series(prometheus, target, start, end, rate_seconds)
        ]
        column = panel["gridPos"]["x"] * _COLUMNS // _GRID_WIDTH
        rows[-1].panels.append(
            Panel(panel["title"], panel["fieldConfig"]["defaults"]["unit"], column, series)
        )
    return rows


def empty_panels(rows: Sequence[Row]) -> list[str]:
    """Titles of the panels without data."""
    return [panel.title for row in rows for panel in row.panels if not panel.series]


def _read_series(
    prometheus: Prometheus, target: Mapping[str, Any], start: float, end: float, rate_seconds: int
) -> Iterator[Series]:
    expression = target["expr"].replace("$__rate_interval", f"{rate_seconds}s")
    step = max((end - start) / _POINTS, 1.0)
    for found in prometheus.query_range(expression, start, end, step):
        values = [(float(at) - start, float(value)) for at, value in found["values"]]
        if any(math.isfinite(value) for _, value in values):
            yield _with_gaps(_legend(target["legendFormat"], found["metric"]), values, step)


def _legend(form: str, labels: Mapping[str, str]) -> str:
    """A legend whose `{{label}}` are replaced."""
    return _LEGEND.sub(lambda name: labels.get(name[1], ""), form)


def _with_gaps(label: str, values: Sequence[tuple[float, float]], step: float) -> Series:
    """A series whose line breaks where there was no value."""
    times, shown = [], []
    for at, value in values:
        if times and at - times[-1] > 1.5 * step:
            times.append(at - step)
            shown.append(math.nan)
        times.append(at)
        shown.append(value if math.isfinite(value) else math.nan)
    return Series(label, times, shown)


def draw(rows: Sequence[Row], title: str, output: Path) -> None:
    """Draw all panels into one picture.

    Args:
        rows: What to draw.
        title: Heading of the picture.
        output: The PNG file.
    """
    lines = [math.ceil(len(row.panels) / _COLUMNS) for row in rows]
    heights = [height for count in lines for height in (_ROW_INCHES, *[_PANEL_INCHES[1]] * count)]
    figure = pyplot.figure(figsize=(_COLUMNS * _PANEL_INCHES[0], sum(heights) + 0.6), layout="constrained")
    seconds = max(each.times[-1] for row in rows for panel in row.panels for each in panel.series)
    figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold")
    grid = figure.add_gridspec(len(heights), _COLUMNS, height_ratios=heights)
    line = 0
    for row, count in zip(rows, lines, strict=True):
        _draw_heading(figure.add_subplot(grid[line, :]), row.title)
        for number, panel in enumerate(row.panels):
            _draw_panel(figure.add_subplot(grid[line + 1 + number // _COLUMNS, panel.column]), panel, seconds)
        line += 1 + count
    figure.savefig(output, dpi=80)
    pyplot.close(figure)


def _draw_heading(axes: Axes, title: str) -> None:
    axes.set_axis_off()
    axes.axhspan(0, 1, color="#e8ecf1")
    axes.text(0.006, 0.5, title, transform=axes.transAxes, va="center", fontsize=12, fontweight="bold")


def _draw_panel(axes: Axes, panel: Panel, seconds: float) -> None:
    for series in panel.series:
        axes.plot(series.times, series.values, linewidth=1.3, label=series.label)
    axes.set_title(panel.title, loc="left", fontsize=10)
    if not panel.series:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="#888888")
        axes.set_yticks([])
        return
    axes.set_xlim(0, seconds)
    axes.set_ylim(bottom=0)
    if axes.get_ylim()[1] < 1e-9 or all(max(_finite(series), default=0.0) == 0.0 for series in panel.series):
        axes.set_ylim(0, 1)
    axes.yaxis.set_major_locator(_locator(panel.unit, axes.get_ylim()[1]))
    axes.yaxis.set_major_formatter(_formatter(panel.unit, axes.get_ylim()[1]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}")
    )
    axes.tick_params(labelsize=8)
    axes.grid(color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    columns = 3 if max(len(series.label) for series in panel.series) < 18 else 2
    axes.legend(
        fontsize=7.5,
        ncols=columns,
        loc="upper left",
        bbox_to_anchor=(0, -0.12),
        frameon=False,
        borderaxespad=0,
    )


def _finite(series: Series) -> list[float]:
    return [value for value in series.values if math.isfinite(value)]


def _locator(unit: str, top: float) -> Locator:
    """Where an axis has its ticks: at round numbers of the unit that is shown."""
    if unit != "bytes":
        return MaxNLocator(5)
    base = _MIB if top >= 8 * _MIB else _KIB
    step = max(base, base * 2.0 ** round(math.log2(top / base / 5)))
    return MultipleLocator(step)


def _formatter(unit: str, top: float) -> FuncFormatter:
    """Labels of an axis in the unit of Grafana's name."""
    return FuncFormatter(lambda value, _: _FORMATS[unit](value, top))


def _seconds(value: float, top: float) -> str:
    return f"{value * 1e3:g} ms" if top < 2.0 else f"{value:g} s"


def _bytes(value: float, top: float) -> str:
    return f"{value / _MIB:.0f} MiB" if top >= 8 * _MIB else f"{value / _KIB:.0f} KiB"


_FORMATS: dict[str, Callable[[float, float], str]] = {
    "reqps": lambda value, top: f"{value:g}/s",
    "ops": lambda value, top: f"{value:g}/s",
    "s": _seconds,
    "bytes": _bytes,
    "percentunit": lambda value, top: f"{value:.0%}",
    "short": lambda value, top: f"{value:g}",
}


def main() -> None:
    """Draw a range of a running Prometheus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="PNG file to write")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="URL of the server")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the range, which ends now")
    given = parser.parse_args()
    end = time.time()
    start = end - given.minutes * 60
    rows = read_rows(Prometheus(given.prometheus), start, end, rate_seconds=60)
    draw(rows, "Creditline", given.output)
    if empty := empty_panels(rows):
        print(f"without data: {', '.join(empty)}")


if __name__ == "__main__":
    main()
