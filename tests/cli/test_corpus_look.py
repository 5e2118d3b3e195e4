"""`creditline corpus look`: what a source holds, for people and for programs, before anything is written."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from creditline.cli.survey_view import survey_view
from creditline.corpus.sources import open_source, survey
from tests.corpus.sources.examples import (
    EXAMPLES,
    write_folder,
    write_img2dataset_parquet,
    write_laion_parquet,
)


def _look(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "creditline.cli.main", "corpus", "look", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _shown(path: Path) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(survey_view(survey(open_source(path))))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_folder_is_shown_with_its_broken_rows(tmp_path: Path) -> None:
    done = _look(write_folder(tmp_path / "folder"))
    assert done.returncode == 0, done.stderr
    assert "16, all with a picture, decoded to the end" in done.stdout
    assert "caption not in UTF-8" in done.stdout
    assert "owl-3.png" in done.stdout


def test_json_has_everything_but_the_pictures(tmp_path: Path) -> None:
    directory = write_laion_parquet(tmp_path / "laion")
    done = _look(directory, "--json", "--no-pictures", "--limit", 10)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["works"], told["is_whole"], told["kind"]) == (10, False, "parquet")
    assert told["sample"][0]["thumbnail"] == 0
    assert told["mapping"]["caption"] == "TEXT"
    assert told["fingerprint"] == open_source(directory).fingerprint


def test_a_source_in_which_nothing_is_a_work_leaves_with_status_one(tmp_path: Path) -> None:
    done = _look(write_img2dataset_parquet(tmp_path / "a.parquet", [b"none"] * 30))
    assert done.returncode == 1
    assert "Nothing in it is a work" in done.stdout
    assert "(the first 20 of 30)" in done.stdout


def test_an_empty_or_wrong_directory_is_one_line_and_status_two(tmp_path: Path) -> None:
    for path, told in ((tmp_path, "is empty"), (tmp_path / "nothing", "is not there")):
        done = _look(path)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith(f"error: {path} {told}; name a directory or")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_every_form_fits_in_eighty_columns(name: str, tmp_path: Path) -> None:
    shown = _shown(EXAMPLES[name](tmp_path / ("a-rather-long-name-of-a-directory-" * 3)))
    assert max(map(len, shown.splitlines())) <= 80
    assert "Taken for what" in shown


def test_other_peoples_texts_do_not_command_the_terminal(tmp_path: Path) -> None:
    columns = {"key": ["[bold]a[/bold]"] * 2, "text": ["red \x1b[31m\r\nand [blue]more"] * 2}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    shown = _shown(tmp_path)
    assert "\x1b" not in shown
    assert "[bold]a[/bold]" in shown
    assert "red [31m and [blue]more" in shown
    assert "a.parquet row 0, a.parquet row 1" in shown


def test_sources_are_opened_without_torch() -> None:
    script = (
        "import sys, creditline.corpus.sources; print([n for n in ('torch', 'datasets') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
