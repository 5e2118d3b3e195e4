"""The REST API against its own contract: schemathesis with all phases and checks, on a stack that can answer.

Run `python -m tests.benchmarks.fuzz.schemas` (half an hour; needs the extra `bench`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.fuzz.stack import answering_stack
from tests.benchmarks.load.gateway_process import API_KEY
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make fuzz"
SEEDS = (0, 1, 2)
EXAMPLES = 200
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]
_HOOKS = "tests.benchmarks.fuzz.schemathesis_hooks"
_RUN_SECONDS = 5_400
# With several, threads of schemathesis parse source at once, which CPython 3.11 cannot.
_WORKERS = 1


def run(url: str, seed: int, report: Path, *, examples: int = EXAMPLES) -> Mapping[str, Any]:
    """The report of one run of all operations.

    Args:
        url: Base URL of the gateway.
        seed: Seed of all that is drawn.
        report: Where the report is written.
        examples: Number of examples of each operation.

    Raises:
        subprocess.CalledProcessError: schemathesis ended without a result.
    """
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(_HERE / "schemathesis.toml"), "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {API_KEY}", "--seed", str(seed)),
        *("--max-examples", str(examples), "--workers", str(_WORKERS), "--no-color"),
        *("--report", "json", "--report-json-path", str(report)),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": _HOOKS,
        "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(_ROOT)))),
    }
    ended = subprocess.run(command, env=environment, cwd=report.parent, timeout=_RUN_SECONDS, check=False)
    # 1: there are findings.
    if ended.returncode not in (0, 1):
        raise subprocess.CalledProcessError(ended.returncode, command)
    read: Mapping[str, Any] = json.loads(report.read_text())
    return read


def findings(report: Mapping[str, Any]) -> int:
    """Number of findings; a run that did not come to its end counts as one."""
    return len(report["failures"]) + len(report["errors"]) + (not report["complete"])


def row(report: Mapping[str, Any]) -> dict[str, Any]:
    """A run in the form of the result files."""
    return {
        "part": "schemathesis",
        "seed": report["seed"],
        "version": report["schemathesis_version"],
        "operations": report["operations"],
        "phases": report["phases"],
        "test_cases": report["test_cases"],
        "seconds": round(report["running_time"]),
        "findings": findings(report),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name, answering_stack(Path(name)) as stack:
        url = f"http://127.0.0.1:{stack.gateway.ports.gateway_http}"
        reports = [run(url, seed, Path(name) / f"seed-{seed}.json") for seed in SEEDS]
        deaths = stack.deaths()
    for report in reports:
        print(json.dumps([*report["failures"], *report["errors"]], indent=1))
    found = sum(map(findings, reports)) + deaths
    what = (
        f"findings of schemathesis {reports[0]['schemathesis_version']}, all phases and checks, {EXAMPLES}"
        f" examples an operation, {len(SEEDS)} seeds, and processes that ended (a count, exact)"
    )
    figures = {"schemathesis_findings": Figure(found, target="== 0", what=what)}
    write_result("api-fuzz", COMMAND, SEEDS[0], figures, [row(report) for report in reports], merge=True)


if __name__ == "__main__":
    main()
