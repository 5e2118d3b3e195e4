"""`make results`: every figure with its target, the missed ones first, and the README's tables.

The README marks a table by `<!-- results:NAME -->` … `<!-- /results -->`; what stands between is replaced.
NAME is a result file, or `NAME-rows` for the table of its rows; where a file has rows of several kinds,
`NAME-KIND-rows` for those of one.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.result_files import REPOSITORY, RESULTS_DIRECTORY, Figure, Result, read_results

READMES = (
    REPOSITORY / "README.md",
    REPOSITORY / "services" / "creditline" / "attribution" / "README.md",
    REPOSITORY / "services" / "creditline" / "attribution" / "reranking" / "README.md",
    REPOSITORY / "services" / "creditline" / "distillation" / "README.md",
    REPOSITORY / "services" / "creditline" / "evaluation" / "lab" / "README.md",
    REPOSITORY / "services" / "creditline" / "index" / "README.md",
)
_MARKED = re.compile(r"(<!-- results:([\w-]+) -->\n).*?(<!-- /results -->)", flags=re.DOTALL)
_MET = {True: "met", False: "**missed**", None: "reported"}
_STYLE = {True: "green", False: "bold red", None: "default"}

# Of both tables of methods, whose rows are told apart by `ROW_MARKS`.
_LAB_COLUMNS = {
    "method": "method",
    "kind": "kind",
    "lds": "LDS",
    "lds_low": "low",
    "lds_high": "high",
    "lds_of_attainable": "of attainable",
    "lds_sharpened": "sharpened",
    "power": "power",
    "lds_own_noise": "own noise",
    "lds_common_noise": "common noise",
    "lds_held_out": "real pictures",
    "lds_in_noise_loss": "papers' loss",
    "seconds_per_query": "s per query",
    "passes_per_query": "passes per query",
    "bytes_per_work": "bytes per work",
}
# Which of a result file's rows' keys the README shows, with their headings.
ROW_COLUMNS = {
    "lab": _LAB_COLUMNS,
    "lab-sixteen": _LAB_COLUMNS,
    "exact": {
        "method": "method",
        "kind": "kind",
        "rank": "rank correlation with exact effects",
        "rank_low": "low",
        "rank_high": "high",
        "removals": "correlation with losses without sets",
        "removals_low": "low",
        "removals_high": "high",
        "queries": "queries",
        "seconds_per_query": "s per query",
    },
    "sketches": {
        "compression": "compression",
        "dimensions": "dimensions",
        "format": "format",
        "bytes_per_work": "bytes per work",
        "lds": "LDS",
        "lds_low": "low",
        "lds_high": "high",
        "kept": "of exact rows",
        "kept_choosing": "of exact rows, choosing",
    },
    "sketches-speed": {"way": "way", "seconds_per_work": "processor seconds per work"},
    "fast-teacher": {
        "method": "method",
        "recall": "recall of the first 100",
        "recall_low": "low",
        "recall_high": "high",
        "recall_of_ceiling": "of ceiling",
        "spearman": "Spearman",
        "lds": "LDS",
        "passes_per_query": "passes per query",
        "pass_ratio": "of the full teacher's",
        "seconds_per_query": "s per query",
    },
    "unlearning": {
        "step": "step",
        "moves": "what it moves",
        "difference": "LDS by difference",
        "relative": "in relative losses",
        "skew": "by MUCS's skew",
        "skew_low": "low",
        "skew_high": "high",
        "passes_per_query": "passes per query",
    },
    "one-unit": {
        "method": "method",
        "queries": "queries",
        "slope": "slope",
        "slope_low": "low",
        "slope_high": "high",
        "explained": "explained",
        "correlation_of_ceiling": "correlation, of ceiling",
        "first_work": "ΔL of the first work",
        "any_work": "of any work",
        "all_works": "of all works",
        "concentration": "concentration",
        "concentration_noise": "of noise",
    },
    "leave-k-out": {
        "method": "left out",
        "queries": "queries",
        "loss_change": "ΔL",
        "over_random": "over random",
        "over_random_low": "low",
        "over_random_high": "high",
        "mse": "picture's MSE",
        "dssim": "1 − SSIM",
        "tower": "1 − tower's cosine",
        "auroc_mse": "AUROC by MSE",
        "auroc_dssim": "by SSIM",
        "auroc_tower": "by the tower",
    },
    "attributors": {
        "cost": "cost of AbU+",
        "collection": "works of",
        "draws_per_work": "draws per work",
        "card": "GPU",
        "assumed_utilisation": "assumed part of its peak",
        "gpu_hours": "GPU hours",
        "gpu_years": "GPU years",
    },
    "distillation": {
        "recipe": "on the lab",
        "reference": "on the reference corpus",
        "queries": "labelled pictures",
        "lds": "LDS",
        "lds_low": "low",
        "lds_high": "high",
        "of_teacher": "of its teacher's",
        "ndcg100": "nDCG@100 with the teacher",
        "of_ceiling": "of the ceiling",
        "epochs": "epochs",
        "seconds": "seconds of training",
    },
    "calibration": {
        "credit by": "credit by",
        "decoy_share": "to decoys",
        "over_raw": "over raw similarity's",
        "ndcg100_gain": "nDCG@100 gained by the weights",
        "ndcg100_gain_low": "low",
        "share_error": "error of shares",
    },
    "index": {
        "engine": "engine",
        "works": "works",
        "ef": "ef",
        "recall100": "recall@100",
        "p50_ms": "p50 ms",
        "recall100_filtered": "recall@100, half pass",
        "p50_filtered_ms": "p50 ms, half pass",
        "bare_p50_ms": "of it the engine alone",
    },
    "index-sums": {
        "engine": "way",
        "above": "works above the cosine",
        "p50_ms": "p50 ms",
        "sum_error": "error of the sum",
    },
    "ingest": {
        "loading": "loading",
        "works_per_second": "works a second",
        "least": "least",
        "most": "most",
        "runs": "runs",
    },
    "capacity": {
        "works": "works",
        "disk_gb": "disk, GB",
        "disk_predicted_gb": "predicted",
        "ram_gb": "memory, GB",
        "ram_predicted_gb": "predicted",
    },
    "capacity-codes": {
        "codes": "codes",
        "works": "works",
        "recall": "recall@100",
        "p50_ms": "p50 ms, engine alone",
        "built_per_second": "built a second and core",
        "code_bytes": "bytes beside the code",
    },
    "capacity-planned": {
        "planned_works": "works",
        "codes": "codes",
        "indexes": "field indexes in",
        "machine_gb": "machines of, GB",
        "machines": "machines",
        "shards": "shards",
        "planned_ram_gb": "memory in all, GB",
        "planned_disk_gb": "disk in all, GB",
        "p50_ms": "p50 ms",
        "recall100": "recall@100",
        "build_hours": "hours to build",
    },
    "groups": {
        "part": "table",
        "way": "way",
        "queries": "pictures",
        "contributors": "contributors",
        "by_query": "whom a picture owes",
        "by_query_low": "low",
        "by_query_high": "high",
        "by_contributor": "which pictures owe one",
        "by_contributor_low": "low",
        "by_contributor_high": "high",
        "efficiency_error": "efficiency error",
        "over_measured": "over measured",
    },
}

# Where a file has rows of several kinds: the key that only those of one kind have.
ROW_MARKS = {
    "lab": "list_48",
    "lab-sixteen": "list_16",
    "sketches": "compression",
    "sketches-speed": "way",
    "index": "recall100",
    "index-sums": "sum_error",
    "capacity": "disk_error",
    "capacity-codes": "built_per_second",
    "capacity-planned": "planned_works",
}
# Where a table shows some of a file's rows only: the values that they have.
ROWS_SHOWN = {"sketches": {"kernel": "consensus"}}


def number_text(value: float | None) -> str:
    """A number for people: three significant digits, thousands separated, nothing for None."""
    if value is None:
        return ""
    if math.isnan(value):
        return "not a number"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval_text(figure: Figure) -> str:
    """Low to high, where both are known."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{number_text(figure.low)} to {number_text(figure.high)}"


def value_text(figure: Figure) -> str:
    return f"{number_text(figure.value)} {figure.unit}".strip()


def markdown_table(result: Result | None, name: str) -> str:
    """The README's table of one result file, ending with how to measure it again."""
    if result is None:
        return f"_There is no `{name}.json` yet: `make bench` measures it._\n"
    lines = ["| figure | what | value | interval | target | |", "|---|---|---|---|---|---|"]
    lines += [_markdown_row(key, figure) for key, figure in result.figures.items()]
    lines += ["", f"Measured by `{result.command}` on {result.machine}.", ""]
    return "\n".join(lines)


def _markdown_row(key: str, figure: Figure) -> str:
    cells = (
        f"`{key}`",
        figure.what,
        value_text(figure),
        interval_text(figure),
        figure.target or "",
        _MET[figure.met],
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def markdown_rows(result: Result | None, table: str, columns: Mapping[str, str]) -> str:
    """The README's table of a result file's rows: each column's heading by its key."""
    if result is None:
        return f"_There are no results for `{table}` yet._\n"
    lines = [f"| {' | '.join(columns.values())} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(_cell(row.get(key)) for key in columns)} |" for row in _of_kind(result, table)]
    return "\n".join([*lines, ""])


def _of_kind(result: Result, table: str) -> list[Mapping[str, Any]]:
    """The rows that a table shows."""
    mark, shown = ROW_MARKS.get(table), ROWS_SHOWN.get(table, {})
    return [row for row in result.rows if (mark is None or mark in row) and shown.items() <= row.items()]


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return number_text(value)


def _table_named(name: str, results: Mapping[str, Result]) -> str:
    of_rows = name.removesuffix("-rows")
    if of_rows in ROW_COLUMNS and name != of_rows:
        file = of_rows if of_rows in results else of_rows.partition("-")[0]
        return markdown_rows(results.get(file), of_rows, ROW_COLUMNS[of_rows])
    return markdown_table(results.get(name), name)


def readme_with_tables(readme: str, results: Mapping[str, Result]) -> str:
    """The README's text with every marked table made anew."""

    def replaced(match: re.Match[str]) -> str:
        return match[1] + _table_named(match[2], results) + match[3]

    return _MARKED.sub(replaced, readme)


def figures_missed_first(results: Mapping[str, Result]) -> list[tuple[str, Figure]]:
    """All figures by full key: missed, then met, then those without a target."""
    rank = {False: 0, True: 1, None: 2}
    keyed = [
        (f"{name}.{key}", figure)
        for name, result in results.items()
        for key, figure in result.figures.items()
    ]
    return sorted(keyed, key=lambda entry: rank[entry[1].met])


def terminal_table(results: Mapping[str, Result]) -> Table:
    """All figures for the terminal."""
    table = Table(title="Figures", title_justify="left", box=None, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    for heading in ("value", "interval", "target"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for key, figure in figures_missed_first(results):
        verdict = _MET[figure.met].strip("*")
        cells = (key, value_text(figure), interval_text(figure), figure.target or "", verdict)
        table.add_row(*cells, style=_STYLE[figure.met])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the README is up to date")
    check: bool = parser.parse_args().check
    results = read_results(RESULTS_DIRECTORY)
    console = Console()
    console.print(terminal_table(results))
    for path in READMES:
        _renew(path, results, console, check=check)


def _renew(path: Path, results: Mapping[str, Result], console: Console, *, check: bool) -> None:
    name, written = str(path.relative_to(REPOSITORY)), path.read_text()
    fresh = readme_with_tables(written, results)
    if fresh == written:
        console.print(f"{name}: tables are up to date")
    elif check:
        raise SystemExit(f"{name}: tables differ from the result files; run `make results`")
    else:
        path.write_text(fresh)
        console.print(f"{name}: tables written anew")


if __name__ == "__main__":
    main()
