"""Runs the Dockerfile's build stages step by step in a directory on this machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.image_programs import stages
from tests.deploy.manifests import REPOSITORY

ROOT = "/opt/creditline"
_PIP = f"{ROOT}/bin/pip"
_MAKES_ENVIRONMENT = f"python -m venv {ROOT}"
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
_SECONDS = 300.0

Pip = Callable[[list[str], Path], None]


@dataclass(frozen=True)
class Step:
    """An instruction of the Dockerfile with its arguments."""

    instruction: str
    text: str


def steps(stage: str) -> list[Step]:
    """The instructions of a stage, after those of the stages that it starts from."""
    first, *lines = stages()[stage].replace("\\\n", " ").splitlines()
    base = first.removeprefix("FROM ")
    found = [re.match(r"([A-Z]+) (.*)", line) for line in lines]
    own = [Step(match[1], match[2]) for match in found if match]
    return [*(steps(base) if base in stages() else []), *own]


def carry_out(stage: str, directory: Path, pip: Pip) -> None:
    """Do what the stage does, with `directory` for its working directory.

    Args:
        pip: called with the arguments and the working directory of every call of the environment's pip; the
            environment itself is the caller's.
    """
    for step in steps(stage):
        if step.instruction == "COPY":
            *sources, target = step.text.split()
            for source in sources:
                _copy(source, directory / target)
        elif step.instruction == "RUN":
            for command in re.split(r"\s*&&\s*", step.text):
                _run(command, directory, pip)


def _copy(source: str, target: Path) -> None:
    """Copy as Docker does: a file into a directory, a directory's content; modification times are kept."""
    for name in tracked_files(source):
        inside = Path(name).relative_to(source) if (REPOSITORY / source).is_dir() else Path(Path(name).name)
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target / inside)


def _run(command: str, directory: Path, pip: Pip) -> None:
    if command == _MAKES_ENVIRONMENT:
        return
    if command.startswith(_PIP):
        pip(shlex.split(command)[1:], directory)
        return
    outside = [word for word in shlex.split(command) if word.startswith("/") or ".." in word]
    assert not outside, f"{command!r} reaches out of its directory"
    subprocess.run(["sh", "-c", command], cwd=directory, check=True, timeout=60)


def tracked_files(*paths: str) -> list[str]:
    """Files below `paths` that git tracks or would track, relative to the repository."""
    which = ("--cached", "--others", "--exclude-standard")
    listed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", *which, "-z", *paths],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = sorted({name for name in listed.stdout.split("\0") if name})
    return [name for name in names if (REPOSITORY / name).is_file()]


def build_wheel(source: Path, output: Path) -> Path:
    """Build the package in `source` by the setuptools of this environment, without network."""
    output.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        [sys.executable, "-c", _BUILD, str(output)],
        cwd=source,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert built.returncode == 0, built.stderr
    return output / built.stdout.splitlines()[-1]


def image_wheel(image: str, directory: Path) -> Path:
    """The wheel that an image's last installation makes, without any dependency and without network."""
    output = directory / "wheel"
    source = directory / "source"
    source.mkdir(parents=True)

    def build(_arguments: list[str], where: Path) -> None:
        build_wheel(where, output)

    carry_out(f"build-{image}", source, build)
    shutil.rmtree(source)
    (wheel,) = output.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    """The files in a wheel by their names."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}
