"""`creditline demo` as a person runs it: all services as processes, one picture, one audit, four files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from creditline.corpus.works import Corpus, write_corpus
from creditline.generator.pipeline import Generator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PROMPT = "a <b>red</b> ladybug"
WIDTH = 16


@dataclass(frozen=True)
class Run:
    """What one run of the command said and left behind."""

    returncode: int
    output: str
    directory: Path

    @property
    def document(self) -> dict[str, object]:
        content: dict[str, object] = json.loads((self.directory / "credit-line.json").read_text())
        return content


def _artifacts(generator: Generator, corpus: Corpus, directory: Path) -> dict[str, str]:
    """The settings that name a release, statistics and a corpus file made for a small generator."""
    from creditline.attribution.unlearning.teacher import prepare_teacher
    from creditline.distillation.release.development import write_development_release
    from creditline.distillation.training.feature_store import FeatureStore
    from creditline.towers.towers import Towers

    store = FeatureStore(Towers.open(), None, lambda line: None)
    write_development_release(
        directory / "release", corpus, store, generator_fingerprint=generator.fingerprint, width=WIDTH
    )
    prepare_teacher(generator, corpus, directory / "artifacts", lambda line: None)
    write_corpus(corpus, directory / "corpus.parquet")
    return {
        "CREDITLINE_RELEASE_DIRECTORY": str(directory / "release"),
        "CREDITLINE_GENERATOR_DIRECTORY": str(generator.directory),
        "CREDITLINE_TEACHER_ARTIFACTS": str(directory / "artifacts"),
        "CREDITLINE_CORPUS_FILE": str(directory / "corpus.parquet"),
    }


@pytest.fixture(scope="module")
def run(random_generator: Generator, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("demo")
    settings = _artifacts(random_generator, small_corpus, directory)
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "creditline"), "demo", "--seed", "3", "--works", "5"),
            *("--output", str(directory / "out"), "--state-directory", str(directory / "state")),
        ],
        env={**os.environ, **settings, "PROMPT": PROMPT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=800,
    )
    return Run(done.returncode, done.stdout, directory / "out")


def test_the_demo_ends_well_and_says_what_to_try_next(run: Run) -> None:
    assert run.returncode == 0, run.output
    assert [f"{step}/4" in run.output for step in range(1, 5)] == [True] * 4
    last_lines = run.output.rstrip().splitlines()[-3:]
    assert last_lines[0].startswith("Next:")
    assert "make demo" in last_lines[1]
    assert "local up" in last_lines[2]


def test_the_credit_line_holds_together_and_carries_a_verdict(run: Run, small_corpus: Corpus) -> None:
    content = run.document
    works, audit = content["works"], content["audit"]
    assert isinstance(works, list)
    assert isinstance(audit, dict)
    assert [work["rank"] for work in works] == [1, 2, 3, 4, 5]
    assert {work["id"] for work in works} <= set(small_corpus.ids)
    remainder = content["remainder"]
    assert isinstance(remainder, float)
    assert sum(work["share"] for work in works) + remainder == pytest.approx(1.0, abs=1e-6)
    assert audit["state"] == "DONE"
    assert audit["verdict"]["query_rise"] > 1.0
    assert 0.0 <= audit["verdict"]["recall"]["value"] <= 1.0


def test_the_picture_is_the_one_that_was_attributed(run: Run, random_generator: Generator) -> None:
    query = run.document["query"]
    assert isinstance(query, dict)
    assert query["prompt"] == PROMPT
    assert query["generator"] == random_generator.fingerprint
    with Image.open(run.directory / "picture.png") as picture:
        again = random_generator.sample([PROMPT], [3])[0]
        assert list(picture.convert("RGB").getdata()) == list(again.convert("RGB").getdata())


def test_no_service_is_left_running(run: Run) -> None:
    state = run.directory.parent / "state"
    commands = [
        path.read_bytes().decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/environ")
        if _mine(path)
    ]
    assert [command for command in commands if str(state) in command] == []


def _mine(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
