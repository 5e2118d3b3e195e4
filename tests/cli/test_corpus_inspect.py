"""`creditline corpus inspect`: the contents of a source, for people and for programs."""

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
from creditline.corpus.embedded.crediting import NAMES_DISAGREE
from creditline.corpus.sources import open_source, survey
from creditline.corpus.sources.embedded_data import UNREADABLE
from tests.corpus.embedded.written_pictures import picture, sequence, xmp
from tests.corpus.sources.examples import (
    EXAMPLES,
    write_folder,
    write_img2dataset_parquet,
    write_laion_parquet,
)


def _inspect(*arguments: object, command: str = "inspect") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "creditline.cli.main", "corpus", command, *map(str, arguments)],
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
    done = _inspect(write_folder(tmp_path / "folder"))
    assert done.returncode == 0, done.stderr
    assert "16, all with a picture, fully decoded" in done.stdout
    assert "caption not in UTF-8" in done.stdout
    assert "owl-3.png" in done.stdout


def test_json_has_everything_but_the_pictures(tmp_path: Path) -> None:
    directory = write_laion_parquet(tmp_path / "laion")
    done = _inspect(directory, "--json", "--no-pictures", "--limit", 10)
    assert done.returncode == 0, done.stderr
    survey_of = json.loads(done.stdout)
    assert (survey_of["works"], survey_of["is_whole"], survey_of["kind"]) == (10, False, "parquet")
    assert survey_of["sample"][0]["thumbnail"] == 0
    assert survey_of["mapping"]["caption"] == "TEXT"
    assert survey_of["fingerprint"] == open_source(directory).fingerprint


def test_a_source_in_which_nothing_is_a_work_leaves_with_status_one(tmp_path: Path) -> None:
    done = _inspect(write_img2dataset_parquet(tmp_path / "a.parquet", [b"none"] * 30))
    assert done.returncode == 1
    assert "The source holds no works" in done.stdout
    assert "(the first 20 of 30)" in done.stdout


def test_an_empty_or_wrong_directory_is_one_line_and_status_two(tmp_path: Path) -> None:
    for path, problem in ((tmp_path, "is empty"), (tmp_path / "nothing", "does not exist")):
        done = _inspect(path)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith(f"error: {path} {problem}; name a directory or")
        assert done.stderr.count("\n") == 1


def test_the_former_name_look_does_the_same_and_is_not_listed(tmp_path: Path) -> None:
    directory = write_laion_parquet(tmp_path / "laion")
    former, current = (_inspect(directory, "--json", command=name) for name in ("look", "inspect"))
    assert (former.returncode, former.stdout) == (0, current.stdout)
    assert json.loads(former.stdout)["works"] == json.loads(current.stdout)["works"] > 0
    listed = {line.split()[1] for line in _group_help().splitlines() if line.startswith("│ ")}
    assert "inspect" in listed
    assert "look" not in listed


def _group_help() -> str:
    return subprocess.run(
        [sys.executable, "-m", "creditline.cli.main", "corpus", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_every_form_fits_in_eighty_columns(name: str, tmp_path: Path) -> None:
    shown = _shown(EXAMPLES[name](tmp_path / ("a-rather-long-name-of-a-directory-" * 3)))
    assert max(map(len, shown.splitlines())) <= 80
    assert "Columns used" in shown


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


def test_consent_and_disagreements_about_names_are_counted(tmp_path: Path) -> None:
    packet = xmp(sequence("dc:creator", "Ann"), plus_DataMining="DMI-PROHIBITED-GENAIMLTRAINING")
    for name, author in (("a", "ann "), ("b", "Ben"), ("c", None)):
        (tmp_path / f"{name}.png").write_bytes(picture("PNG", packet=packet))
        (tmp_path / f"{name}.json").write_text(json.dumps({"caption": "a barn", "author": author}))
    (tmp_path / "d.png").write_bytes(picture("PNG", packet=packet[:-80]))
    (tmp_path / "d.txt").write_text("a barn")
    found = survey(open_source(tmp_path))
    assert found.consent["generative_training"] == {"prohibited": 3, "unreadable": 1}
    assert found.consent["training"] == {"unreadable": 1, "unspecified": 3}
    assert found.notes == {NAMES_DISAGREE: 1, UNREADABLE: 1}
    assert "3 prohibited, 1 unreadable" in _shown(tmp_path)
    plain = survey(open_source(tmp_path, embedded=False))
    assert plain.consent["generative_training"] == {"unspecified": 4}
    assert plain.notes == {}
