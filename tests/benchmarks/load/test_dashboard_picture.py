"""The picture of the dashboard: a panel with a gap, one without data, and axes in readable units."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

from tests.benchmarks.load.dashboard_picture import (
    Panel,
    Row,
    Series,
    _formatter,
    _with_gaps,
    draw,
    empty_panels,
)


def test_panels_are_drawn_into_one_picture_and_those_without_data_are_named(tmp_path: Path) -> None:
    series = Series("p99", [0.0, 1.0, 2.0], [0.1, math.nan, 0.3])
    rows = [Row("Gateway", [Panel("Time", "s", 0, [series]), Panel("Refusals", "reqps", 1, [])])]
    draw(rows, "A run", tmp_path / "drawn.png")
    assert empty_panels(rows) == ["Refusals"]
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.width > 1_000
        assert len(drawn.convert("RGB").getcolors(1 << 24) or ()) > 10


def test_a_line_breaks_where_values_are_missing() -> None:
    series = _with_gaps("x", [(0.0, 1.0), (1.0, 2.0), (5.0, 3.0)], step=1.0)
    assert series.times == [0.0, 1.0, 4.0, 5.0]
    assert math.isnan(series.values[2])


@pytest.mark.parametrize(
    ("unit", "value", "top", "shown"),
    [
        ("s", 0.25, 1.0, "250 ms"),
        ("s", 30.0, 60.0, "30 s"),
        ("bytes", 64 << 20, 128 << 20, "64 MiB"),
        ("percentunit", 0.5, 1.0, "50%"),
        ("reqps", 2.5, 10.0, "2.5/s"),
    ],
)
def test_an_axis_has_the_unit_of_its_panel(unit: str, value: float, top: float, shown: str) -> None:
    assert _formatter(unit, top)(value) == shown
