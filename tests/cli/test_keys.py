"""`creditline keys`, as a person types it, against a ledger and against a local stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from creditline.cli.durations import read_duration
from creditline.errors import InvalidInput
from creditline.ledger import Ledger, Scope
from creditline.local.state import StackState, StateDirectory

Creditline = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def creditline(tmp_path: Path) -> Creditline:
    """The command, whose local stack has its ledger in `tmp_path`."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    directory = StateDirectory(tmp_path / "stack")
    directory.path.mkdir()
    directory.write(StackState(os.getpid(), "key", "", "", "", "", "", url, ()))

    def run(*arguments: str, directory: Path = directory.path) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if "CREDITLINE_" not in name}
        return subprocess.run(
            [sys.executable, "-m", "creditline.cli.main", "keys", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**environment, "CREDITLINE_STATE_DIRECTORY": str(directory)},
        )

    return run


def test_a_key_is_shown_once_rotated_and_revoked(creditline: Creditline, tmp_path: Path) -> None:
    scopes = ("--scope", "attribute", "--scope", "read")
    made = creditline("create", "--owner", "a [museum]", *scopes, "--expires-in", "90d", "--rate", "10/s")
    assert made.returncode == 0, made.stderr
    # The key stands alone on standard output, and with what belongs to it on standard error.
    key = made.stdout.strip()
    assert "cannot be shown again" in made.stderr
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        (record,) = ledger.keys.all()
    assert record.matches(key)
    assert record.scopes == {Scope.ATTRIBUTE, Scope.READ}
    limited = creditline("set", record.id, "--quota", "10000/day").stdout
    assert f"{record.id} of a [museum]: attribute+read, valid, rate 10/s, quota 10000/d" in limited
    rotated = json.loads(creditline("rotate", record.id, "--overlap", "1h", "--json").stdout)
    assert (rotated["rate"], rotated["quota"]) == ("10/s", "10000/d")
    listed = creditline("list").stdout
    assert f"{record.id} of a [museum]: attribute+read, valid" in listed
    assert f"replaced by {rotated['id']}" in listed
    assert key not in listed
    assert f"Key {record.id} of a [museum] is revoked since" in creditline("revoke", record.id).stdout
    assert [each["id"] for each in json.loads(creditline("list", "--json").stdout)] == [rotated["id"]]
    everything = json.loads(creditline("list", "--all", "--json").stdout)
    assert [each["state"] for each in everything] == ["revoked", "valid"]


def test_a_wrong_call_is_one_line(creditline: Creditline, tmp_path: Path) -> None:
    for arguments, said in (
        (("create", "--owner", "m", "--scope", "all"), "choose from attribute, read, audit, withdraw, admin"),
        (("create", "--owner", "m", "--scope", "read", "--expires-in", "90"), "such as 45s, 30m, 12h or 90d"),
        (("revoke", "0" * 16), "there is no key"),
        (("create", "--owner", "m", "--scope", "read", "--rate", "10"), "such as 10/s, 600/5m or 10000/day"),
        (("set", "0" * 16), "give --rate or --quota"),
    ):
        done = creditline(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
    elsewhere = creditline("list", directory=tmp_path / "nothing")
    assert (elsewhere.returncode, elsewhere.stderr.count("\n")) == (2, 1)
    assert "--ledger URL" in elsewhere.stderr


@pytest.mark.parametrize(("given", "seconds"), [("45s", 45), ("30m", 1800), ("12h", 43200), ("90d", 7776000)])
def test_a_duration_is_a_number_with_its_unit(given: str, seconds: int) -> None:
    assert read_duration(given, option="--overlap").total_seconds() == seconds


@pytest.mark.parametrize("given", ["", "90", "d", "-1d", "1.5h", "1w", "99999999d"])
def test_another_duration_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput, match="--overlap"):
        read_duration(given, option="--overlap")
