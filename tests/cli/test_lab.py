"""`creditline lab`: a method judged from what is committed, and what it says to a wrong name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from creditline.cli.main import main
from creditline.evaluation.lab.judging.scoring import read_scores
from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.setting import REFERENCE


def _lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "creditline.cli.main", "lab", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@dataclass(frozen=True)
class Ended:
    """What the command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def lab_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command in this process, which has torch already: a new one takes seconds to import it."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["creditline", "lab", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.mark.heavy
@pytest.mark.slow
def test_a_method_is_run_judged_and_saved(tmp_path: Path) -> None:
    done = _lab(
        *("score", "text", "--queries", "3", "--kind", "generated"),
        *("--scratch", str(tmp_path), "--save", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert "linear datamodelling score" in done.stdout
    assert "generated" in done.stdout
    assert "heldout" not in done.stdout
    record = read_record(REFERENCE / "record.safetensors")
    scores = read_scores(tmp_path / "text.safetensors", record)
    assert scores.rows == (0, 32, 64)
    assert scores.values.shape == (3, 500)


def test_the_methods_are_listed(lab_here: Callable[..., Ended]) -> None:
    listed = lab_here("score", "list")
    assert listed.status == 0
    assert {"abu-plus", "d-trak", "mucs", "random"} <= set(listed.out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "astrology"), "choose one of random"),
        (("score", "random", "--kind", "dreamt"), "choose from generated, heldout"),
    ],
)
def test_a_wrong_name_is_refused_with_those_that_there_are(
    arguments: tuple[str, ...], said: str, lab_here: Callable[..., Ended]
) -> None:
    done = lab_here(*arguments)
    assert done.status != 0
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err
