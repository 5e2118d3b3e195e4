"""Result files: what every benchmark, lab run and fault run leaves behind, and the reader of them.

A benchmark measures, builds `Figure`s and calls `write_result` once. Where several scripts fill one file
(`main-job.json`), each calls it with `merge=True` and replaces only its own figures and rows.
"""

from __future__ import annotations

import json
import math
import operator
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditline.files import replace_file

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS_DIRECTORY = Path(__file__).resolve().parent / "results"

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
_RANGE = re.compile(rf"^\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*$")
_TARGET = re.compile(r"^\s*(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)\s*$")


def is_met(value: float, target: str | None) -> bool | None:
    """Whether a value meets a target such as ">= 0.95" or "0.87..0.93"; None where there is no target.

    NaN meets nothing. Raises ValueError for a target that is neither a comparison with a number nor a range.
    """
    if target is None:
        return None
    within = _RANGE.match(target)
    if within is not None:
        return float(within[1]) <= value <= float(within[2])
    match = _TARGET.match(target)
    if match is None:
        raise ValueError(
            f"target {target!r} is not a comparison with a number; write e.g. '>= 0.95' or '0.8..0.9'"
        )
    return _COMPARISONS[match[1]](value, float(match[2]))


@dataclass(frozen=True)
class Figure:
    """One measured number.

    `low` and `high` are the 95 % interval, or least and most over runs, where there is one. `what` says in
    a few words what was measured; the README's table shows it.
    """

    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    target: str | None = None
    what: str = ""

    @property
    def met(self) -> bool | None:
        return is_met(self.value, self.target)

    def to_json(self) -> dict[str, Any]:
        return {
            "value": _number(self.value),
            "unit": self.unit,
            "low": _number(self.low),
            "high": _number(self.high),
            "target": self.target,
            "met": self.met,
            "what": self.what,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Figure:
        """Raises KeyError for a missing `value`; a stored `met` is computed anew."""
        value = content["value"]
        return cls(
            value=math.nan if value is None else float(value),
            unit=content.get("unit", ""),
            low=content.get("low"),
            high=content.get("high"),
            target=content.get("target"),
            what=content.get("what", ""),
        )


@dataclass(frozen=True)
class Result:
    """One result file."""

    name: str
    command: str
    commit: str
    machine: str
    seed: int | None
    figures: Mapping[str, Figure]
    rows: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "command": self.command,
            "commit": self.commit,
            "machine": self.machine,
            "seed": self.seed,
            "figures": {key: figure.to_json() for key, figure in self.figures.items()},
            "rows": [dict(row) for row in self.rows],
        }


def write_result(
    name: str,
    command: str,
    seed: int | None,
    figures: Mapping[str, Figure],
    rows: Sequence[Mapping[str, Any]] = (),
    *,
    merge: bool = False,
    machine: str | None = None,
    directory: Path = RESULTS_DIRECTORY,
) -> Path:
    """Write `<directory>/<name>.json` and return its path.

    `command` is what to type to measure it again. With `merge`, the figures and rows of other commands in
    the same file are kept (each row then carries its `command`), and the file names all the commands. Where
    one command measures several parts, each row carries its `part`, and the rows of other parts are kept.
    `machine` is described from here unless it is given (a measurement made elsewhere).
    """
    path = directory / f"{name}.json"
    result = Result(name, command, current_commit(), machine or describe_machine(), seed, figures, rows)
    if merge:
        result = _merged(read_result(path) if path.exists() else None, result)
    directory.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as draft:
        draft.write_text(json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n")
    return path


def read_result(path: Path) -> Result:
    """Read one result file. Raises FileNotFoundError, KeyError where a key of the form is missing."""
    content = json.loads(path.read_text())
    return Result(
        name=content["name"],
        command=content["command"],
        commit=content["commit"],
        machine=content["machine"],
        seed=content["seed"],
        figures={key: Figure.from_json(figure) for key, figure in content["figures"].items()},
        rows=content["rows"],
    )


def read_results(directory: Path = RESULTS_DIRECTORY) -> dict[str, Result]:
    """All result files of a directory by name."""
    return {path.stem: read_result(path) for path in sorted(directory.glob("*.json"))}


def describe_machine() -> str:
    """The machine in a few words: processor, cores, memory, system, Python."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} cores, {gibibytes:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def current_commit() -> str:
    """The commit that is checked out, with `+changes` where the tree differs from it; empty outside git.

    Result files do not count: a benchmark of several parts writes them one after the other.
    """
    commit = _git("rev-parse", "HEAD")
    results = f":(exclude){RESULTS_DIRECTORY.relative_to(REPOSITORY)}"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "services", "tests", results)
    return f"{commit}+changes" if commit and changed else commit


def _merged(old: Result | None, new: Result) -> Result:
    rows = [{**row, "command": new.command} for row in new.rows]
    if old is None:
        return Result(**{**vars(new), "rows": rows})
    commands = [part for part in old.command.split(" && ") if part != new.command]
    parts = {row.get("part") for row in rows} or {None}
    kept = [row for row in old.rows if row.get("command") != new.command or row.get("part") not in parts]
    return Result(
        name=new.name,
        command=" && ".join([*commands, new.command]),
        commit=new.commit,
        machine=new.machine,
        seed=new.seed,
        figures={**old.figures, **new.figures},
        rows=[*kept, *rows],
    )


def _number(value: float | None) -> float | int | None:
    """A plain JSON number: no NaN, and whole numbers as they are."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else round(float(value), 6 - _magnitude(float(value)))


def _magnitude(value: float) -> int:
    return 0 if value == 0 else math.floor(math.log10(abs(value)))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown processor"
    names = re.findall(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return names[0] if names else "unknown processor"


def _git(*arguments: str) -> str:
    try:
        run = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
