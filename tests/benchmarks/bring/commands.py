"""The commands from a folder of captioned pictures and a generator to an audited answer, really typed.

Run `python -m tests.benchmarks.bring.commands` (about ten minutes on two cores). HOME and the working
directory hold nothing but the folder, the generator and a picture that the generator made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from creditline.corpus.works import Corpus
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from tests.benchmarks.result_files import Figure, write_result
from tests.trained_pipelines import trained_on

COMMAND = "make bench-bring"
SEED = 0
WORKS = 500
PROMPT = "a red barn"
_VAE_STEPS, _UNET_STEPS = 800, 2000
_LONGEST_SECONDS = 3600.0
_SERVICES = Path(__file__).resolve().parents[3] / "services"


@dataclass
class Newcomer:
    """Somebody with an empty home and a directory of their own, who types commands."""

    home: Path
    """The empty HOME."""
    directory: Path
    """The working directory."""
    typed: list[dict[str, Any]] = field(default_factory=list)
    """The commands so far, with their status and duration."""

    def types(self, *words: str) -> str:
        """Run `creditline` with these words; returns what it prints. Raises RuntimeError if it fails."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "creditline.cli.main", *words],
            cwd=self.directory,
            env={**kept, "HOME": str(self.home), "PYTHONPATH": str(_SERVICES), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=_LONGEST_SECONDS,
            check=False,
        )
        command = " ".join(("creditline", *words))
        seconds = round(time.monotonic() - began, 1)
        self.typed.append({"command": command, "status": ended.returncode, "seconds": seconds})
        if ended.returncode != 0:
            raise RuntimeError(f"`{command}` ended with status {ended.returncode}:\n{ended.stderr}")
        return ended.stdout


def write_folder(corpus: Corpus, directory: Path) -> None:
    """Write works as a folder of pictures, each with its caption in a text file of the same name."""
    directory.mkdir()
    for number, work in enumerate(corpus):
        work.picture().save(directory / f"{number:04d}.png")
        (directory / f"{number:04d}.txt").write_text(work.caption, encoding="utf-8")


@contextmanager
def newcomer(scratch: Path, corpus: Corpus, *, vae_steps: int, unet_steps: int) -> Iterator[Newcomer]:
    """Somebody with `pictures/`, `my-sd/` and `picture.png`; a stack that they leave behind is stopped."""
    somebody = Newcomer(scratch / "home", scratch / "work")
    for directory in (somebody.home, somebody.directory):
        directory.mkdir()
    write_folder(corpus, somebody.directory / "pictures")
    generator = trained_on(
        corpus, somebody.directory / "my-sd", seed=SEED, vae_steps=vae_steps, unet_steps=unet_steps
    )
    with Generator.open(generator) as opened:
        opened.sample([PROMPT], [SEED])[0].save(somebody.directory / "picture.png")
    try:
        yield somebody
    finally:
        if (somebody.directory / ".creditline" / "local" / "state.json").exists():
            Newcomer(somebody.home, somebody.directory).types("local", "down")


def to_an_audited_answer(somebody: Newcomer, *distil_options: str) -> dict[str, Any]:
    """Type the README's commands until an answer is audited.

    Args:
        somebody: Who types.
        distil_options: Further options of `creditline distill run`.

    Returns:
        The audit, as `--json` prints it.
    """
    corpus_and_generator = ("--corpus", "pictures/", "--generator", "./my-sd", "--into", "releases/mine")
    somebody.types("distill", "run", *corpus_and_generator, *distil_options)
    somebody.types("local", "up", "--detach", "--release", "releases/mine")
    answer = json.loads(somebody.types("attribute", "picture.png", "--prompt", PROMPT, "--json"))
    audit = somebody.types("audit", "submit", answer["attribution_id"], "--wait", "--json")
    audited: dict[str, Any] = json.loads(audit)
    return audited


def main() -> None:
    """Type the commands, print them and write the figure."""
    works = reference_corpus().works[:: len(reference_corpus()) // WORKS][:WORKS]
    with (
        tempfile.TemporaryDirectory() as scratch,
        newcomer(
            Path(scratch), Corpus("pictures", works), vae_steps=_VAE_STEPS, unet_steps=_UNET_STEPS
        ) as somebody,
    ):
        audit = to_an_audited_answer(somebody)
    if audit["verdict"] is None:
        raise RuntimeError(f"the audit ended without a verdict: {audit['error']}")
    rows = [{"part": "commands", **typed} for typed in somebody.typed]
    for row in rows:
        print(f"{row['seconds']:7.1f} s  {row['command']}")
    what = f"commands from {WORKS} captioned pictures and a pipeline trained on them to an audited answer"
    figure = Figure(len(rows), "commands", target="<= 5", what=what)
    write_result("bring", COMMAND, SEED, {"commands_to_answers": figure}, rows, merge=True)


if __name__ == "__main__":
    main()
