"""The cache of compiled towers keeps what is used, and loses what is not, whoever reads it meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from creditline.towers.compiled.retention import MOST_ENTRIES, UNUSED_SECONDS, in_use, remove_unused

_DAY = 86_400.0
_READER = """
import sys
from pathlib import Path
from creditline.towers.compiled.retention import in_use
with in_use(Path(sys.argv[1])):
    print("reading", flush=True)
    sys.stdin.read()
"""


def _entry(cache: Path, number: int, *, days: float) -> Path:
    """An entry that was last used so many days ago."""
    entry = cache / f"{number:032x}-{number:016x}"
    entry.mkdir()
    (entry / "manifest.json").write_text("{}")
    _age(entry, days)
    return entry


def _age(path: Path, days: float) -> None:
    moment = time.time() - days * _DAY
    os.utime(path, (moment, moment))


def test_entries_that_were_not_used_for_a_month_are_removed(tmp_path: Path) -> None:
    kept, recent, old = (_entry(tmp_path, number, days=days) for number, days in ((1, 90), (2, 29), (3, 31)))
    assert UNUSED_SECONDS == 30 * _DAY
    remove_unused(tmp_path, kept)
    assert set(tmp_path.iterdir()) == {kept, recent}
    assert not old.exists()


def test_beyond_the_largest_number_those_used_longest_ago_are_removed(tmp_path: Path) -> None:
    entries = [_entry(tmp_path, number, days=number) for number in range(MOST_ENTRIES + 3)]
    kept = entries[-1]
    remove_unused(tmp_path, kept)
    assert set(tmp_path.iterdir()) == {*entries[: MOST_ENTRIES - 1], kept}


def test_what_is_no_entry_is_left_alone_but_old_drafts_are_removed(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("pictures", f"{1:032x}", ".other.x1.draft", f".{2:032x}-2.lock")]
    drafts = [tmp_path / f".{3:032x}-{3:016x}.{name}.draft" for name in ("old", "new")]
    for path in (*others, *drafts):
        path.mkdir()
        _age(path, 400)
    _age(drafts[1], 1)
    remove_unused(tmp_path, tmp_path / "none")
    assert set(tmp_path.iterdir()) == {*others, drafts[1]}


def test_an_entry_that_is_opened_counts_as_used_then(tmp_path: Path) -> None:
    entry = _entry(tmp_path, 1, days=40)
    with in_use(entry):
        pass
    remove_unused(tmp_path, tmp_path / "none")
    assert (entry / "manifest.json").exists()


def test_an_entry_stays_while_another_process_reads_it(tmp_path: Path) -> None:
    entry = _entry(tmp_path, 1, days=40)
    command = [sys.executable, "-c", _READER, str(entry)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        # Its time says that nobody has used it, so only the reader's lock protects it.
        _age(entry, 40)
        remove_unused(tmp_path, tmp_path / "none")
        assert entry.exists()
        reader.communicate("")
    remove_unused(tmp_path, tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_block_runs_without_an_entry_and_its_error_comes_through(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the block"), in_use(tmp_path / "none"):
        raise OSError("of the block")
