"""Result files and the tables made from them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from tests.benchmarks.result_files import (
    REPOSITORY,
    RESULTS_DIRECTORY,
    Figure,
    is_met,
    read_result,
    read_results,
    write_result,
)
from tests.benchmarks.results_table import READMES, figures_missed_first, number_text, readme_with_tables

FORM = {"name", "command", "commit", "machine", "seed", "figures", "rows"}
FIGURE_FORM = {"value", "unit", "low", "high", "target", "met"}


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [
        (0.95, ">= 0.95", True),
        (0.9499, ">= 0.95", False),
        (0.03, "<= 0.03", True),
        (0.0, "> 0", False),
        (1e-9, "> 0", True),
        (-1.5, "< -1", True),
        (math.nan, ">= 0", False),
        (0.87, "0.87..0.93", True),
        (0.94, "0.87..0.93", False),
        (math.nan, "0.87..0.93", False),
        (3.0, None, None),
    ],
)
def test_a_figure_meets_its_target_exactly_when_the_comparison_holds(
    value: float, target: str | None, met: bool | None
) -> None:
    assert is_met(value, target) is met


def test_a_target_that_is_not_a_comparison_is_refused() -> None:
    with pytest.raises(ValueError, match="about 3"):
        is_met(3.0, "about 3")


def test_a_written_result_has_the_form_and_reads_back(tmp_path: Path) -> None:
    figures = {"speed": Figure(2.5, "ms", 2.0, 3.0, "<= 2", "one call")}
    path = write_result("trial", "python trial.py", 7, figures, [{"method": "a"}], directory=tmp_path)
    content = json.loads(path.read_text())
    assert set(content) == FORM
    assert set(content["figures"]["speed"]) >= FIGURE_FORM
    assert content["figures"]["speed"]["met"] is False
    assert content["machine"]
    read = read_result(path)
    assert read.figures == figures
    assert read.seed == 7


def test_merging_keeps_what_other_commands_measured_and_replaces_ones_own(tmp_path: Path) -> None:
    write_result("job", "one", 1, {"a": Figure(1)}, [{"x": 1}], merge=True, directory=tmp_path)
    write_result("job", "two", 2, {"b": Figure(2)}, [{"x": 2}], merge=True, directory=tmp_path)
    path = write_result("job", "one", 1, {"a": Figure(3)}, [{"x": 3}], merge=True, directory=tmp_path)
    result = read_result(path)
    assert {key: figure.value for key, figure in result.figures.items()} == {"a": 3, "b": 2}
    assert result.rows == [{"x": 2, "command": "two"}, {"x": 3, "command": "one"}]
    assert result.command == "two && one"


def test_parts_of_one_command_keep_the_rows_of_each_other(tmp_path: Path) -> None:
    for part, number in (("a", 1), ("b", 2), ("a", 3)):
        rows = [{"part": part, "x": number}]
        path = write_result("job", "all", 1, {part: Figure(number)}, rows, merge=True, directory=tmp_path)
    result = read_result(path)
    assert [(row["part"], row["x"]) for row in result.rows] == [("b", 2), ("a", 3)]
    assert result.command == "all"


def test_missed_figures_come_first(tmp_path: Path) -> None:
    figures = {"reported": Figure(1), "met": Figure(2, target="> 1"), "missed": Figure(0, target="> 1")}
    write_result("order", "x", None, figures, directory=tmp_path)
    keys = [key for key, _ in figures_missed_first(read_results(tmp_path))]
    assert keys == ["order.missed", "order.met", "order.reported"]


def test_a_marked_table_is_replaced_and_the_rest_of_the_text_stays(tmp_path: Path) -> None:
    write_result("order", "x", None, {"a|b": Figure(1234.5, "ms", target="< 2")}, directory=tmp_path)
    text = "before\n<!-- results:order -->\nold\n<!-- /results -->\nafter\n"
    fresh = readme_with_tables(text, read_results(tmp_path))
    assert fresh.startswith("before\n<!-- results:order -->\n| figure |")
    assert fresh.endswith("<!-- /results -->\nafter\n")
    assert "| `a\\|b` |  | 1,234 ms |  | < 2 | **missed** |" in fresh
    assert "old" not in fresh
    assert readme_with_tables(fresh, read_results(tmp_path)) == fresh


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.08612, "0.0861"), (23.456, "23.5"), (1234567.0, "1,234,567"), (0.9, "0.9"), (None, "")],
)
def test_numbers_are_written_with_three_significant_digits(value: float | None, text: str) -> None:
    assert number_text(value) == text


def test_rows_stand_in_the_readme_under_their_headings(tmp_path: Path) -> None:
    rows = [{"method": "ours", "lds": 0.51234, "list_48": True, "seconds_per_query": None, "not_shown": 1}]
    rows.append({"method": "of the other list", "list_16": True})
    write_result("lab", "make lab", 1, {}, rows, directory=tmp_path)
    text = "<!-- results:lab-rows -->\nold\n<!-- /results -->\n"
    lines = readme_with_tables(text, read_results(tmp_path)).splitlines()
    assert lines[1].startswith("| method | kind | LDS |")
    assert lines[3:-1] == ["| ours |  | 0.512 |" + "  |" * 12], "rows of another list are not shown"
    assert readme_with_tables(text, {}).splitlines()[1] == "_There are no results for `lab` yet._"


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_a_readme_shows_exactly_the_committed_results(path: Path) -> None:
    text = path.read_text()
    assert "<!-- results:" in text
    assert readme_with_tables(text, read_results()) == text


@pytest.mark.parametrize("path", sorted(RESULTS_DIRECTORY.glob("*.json")), ids=lambda path: path.stem)
def test_every_committed_result_has_the_form_and_says_truly_whether_it_met(path: Path) -> None:
    content = json.loads(path.read_text())
    assert set(content) >= FORM
    assert content["name"] == path.stem
    for figure in content["figures"].values():
        assert set(figure) >= FIGURE_FORM
        assert isinstance(figure["value"], (int, float))
        assert is_met(figure["value"], figure["target"]) is figure["met"]


def test_every_file_that_the_documents_link_to_is_there() -> None:
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", (REPOSITORY / document).read_text())
        missing = sorted({link for link in links if not (REPOSITORY / link).exists()})
        assert missing == [], document
