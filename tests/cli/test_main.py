"""The `creditline` command itself: quick help, lazily imported groups, errors as one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from creditline.cli.main import GROUPS
from creditline.local.services import StackPorts

# Each of these alone would cost more than the whole help may.
_HEAVY = (
    "torch",
    "numpy",
    "grpc",
    "pyarrow",
    "pydantic",
    "qdrant_client",
    "fastapi",
    "PIL",
    "creditline.local",
)


def _creditline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "creditline.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_names_the_groups_without_importing_anything_heavy() -> None:
    script = (
        "import sys; from creditline.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('imported:', [name for name in {_HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "imported: []" in done.stdout
    for group in ("local", "index", "corpus"):
        assert GROUPS[group] in done.stdout


@pytest.mark.parametrize("group", ["local", "index"])
def test_a_group_is_imported_when_it_is_called(group: str) -> None:
    done = _creditline(group, "--help")
    assert done.returncode == 0
    assert f"creditline {group} [OPTIONS] COMMAND" in done.stdout


def test_an_unknown_group_is_refused_by_name() -> None:
    done = _creditline("locl")
    assert done.returncode == 2
    assert "No such command 'locl'" in done.stderr


def test_an_error_raised_on_purpose_is_one_line_and_status_two() -> None:
    port = str(StackPorts.free().qdrant)
    done = _creditline("index", "show", CREDITLINE_QDRANT_GRPC_PORT=port)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: Qdrant does not answer at 127.0.0.1:{port}; start it with")
    assert done.stderr.count("\n") == 1


def test_a_wrong_setting_is_one_line_naming_the_variable() -> None:
    done = _creditline("index", "show", CREDITLINE_QDRANT_GRPC_PORT="many")
    assert done.returncode == 2
    assert done.stderr.startswith("error: CREDITLINE_QDRANT_GRPC_PORT is 'many'")
    assert "Traceback" not in done.stderr


def test_the_version_is_printed() -> None:
    done = _creditline("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("creditline ")
