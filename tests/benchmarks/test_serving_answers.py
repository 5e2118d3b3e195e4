"""The figures of whole answers and of infinity, from rows as the benchmarks make them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.serving import infinity
from tests.benchmarks.serving.answers import figure_over_batches, figures_of_versions, figures_over_bare

_LOADS = ("one caller, 64 pixels", "one caller, 512 pixels", "32 callers")


def _answers(turn: int, load: str, version: str, milliseconds: float) -> dict[str, Any]:
    return {
        "turn": turn,
        "load": load,
        "version": version,
        "p50_ms": milliseconds,
        "cpu_ms": milliseconds / 2,
    }


def test_this_version_is_divided_by_the_earlier_one() -> None:
    rows = [
        _answers(turn, load, version, milliseconds + turn)
        for turn in range(5)
        for load in _LOADS
        for version, milliseconds in (("ours", 38.0), ("today", 98.0))
    ]
    found = figures_of_versions(rows)
    assert len(found) == 4
    assert {round(each.value, 6) for each in found.values()} == {0.4}
    assert [each.met for each in found.values()] == [True, True, True, True]


def test_percentiles_of_answers_are_divided_by_those_of_bare_parts() -> None:
    rows = [
        {"part": "bare", "turn": turn, "answer_ms": 60.0 if turn % 50 == 0 else 30.0, "bare_ms": 20.0}
        for turn in range(200)
    ]
    found = figures_over_bare(rows)
    assert found["attribute_over_bare_p50"].value == pytest.approx(1.5)
    assert found["attribute_over_bare_p50"].met is False
    assert found["attribute_over_bare_p99"].value == pytest.approx(3.0)


def test_the_best_batch_is_the_limit() -> None:
    rows = [
        {
            "part": "batches",
            "turn": turn,
            "answers": 45.0,
            "batch_8": 40.0,
            "batch_16": 50.0,
            "batch_32": 30.0,
        }
        for turn in range(3)
    ]
    found = figure_over_batches(rows)["batched_throughput_ratio"]
    assert found.value == pytest.approx(0.9)
    assert "16 pairs each" in found.what


def test_the_rival_runs_by_its_faster_backend() -> None:
    rows = [{"ours": 300.0, "torch": 100.0, "optimum": 200.0} for _ in range(3)]
    found = infinity.figures(rows)["over_infinity"]
    assert found.value == pytest.approx(1.5)
    assert "by optimum" in found.what
