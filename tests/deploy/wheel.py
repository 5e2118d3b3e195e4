"""The wheel that the images install: built from the tracked files, without network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.deploy.manifests import REPOSITORY

# What the Dockerfile copies before it builds the package.
_COPIED = ("pyproject.toml", "README.md", "LICENSE", "services")
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
_BUILD_SECONDS = 300


def tracked_files(*paths: str) -> list[str]:
    """Files below `paths` that git tracks or would track, relative to the repository."""
    listed = subprocess.run(
        [
            "git",
            "-C",
            str(REPOSITORY),
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
            *paths,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = sorted({name for name in listed.stdout.split("\0") if name})
    return [name for name in names if (REPOSITORY / name).is_file()]


def build_wheel(directory: Path) -> Path:
    """Build the wheel with the setuptools of this environment, in `directory`, and return its path."""
    source, output = directory / "source", directory / "wheel"
    output.mkdir(parents=True)
    for name in tracked_files(*_COPIED):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, source / name)
    built = subprocess.run(
        [sys.executable, "-c", _BUILD, str(output)],
        cwd=source,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
    )
    assert built.returncode == 0, built.stderr
    shutil.rmtree(source)
    return output / built.stdout.splitlines()[-1]


def contents(wheel: Path) -> frozenset[str]:
    """Names of the files in a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        return frozenset(opened.namelist())
