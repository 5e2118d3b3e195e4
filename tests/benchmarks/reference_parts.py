"""The reference parts that benchmarks measure, made when they are not there yet."""

from __future__ import annotations

import argparse
from pathlib import Path

from creditline.attribution.unlearning.teacher import Teacher, open_teacher, prepare_teacher
from creditline.errors import NotReady
from creditline.generator.assembly import assemble_reference
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from tests.benchmarks.result_files import REPOSITORY

_RUNS = REPOSITORY / "runs"
LABELS = Path(__file__).resolve().parent / "labels"


def parts_arguments(description: str | None) -> argparse.ArgumentParser:
    """The arguments that name other parts than the package's own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--generator", type=Path, default=None, help="a pipeline directory")
    parser.add_argument("--artifacts", type=Path, default=_RUNS / "teacher", help="the teacher's artifacts")
    return parser


def generator_directory(given: Path | None) -> Path:
    """The given pipeline directory, or the package's own, assembled."""
    return given or assemble_reference(_RUNS / "generator")


def prepared_teacher(generator: Generator, artifacts: Path) -> Teacher:
    """The teacher with all works' gradients (a few minutes the first time).

    Statistics are written after the last gradient, so where they are, everything is.
    """
    try:
        return open_teacher(generator, reference_corpus(), artifacts)
    except NotReady:
        return prepare_teacher(generator, reference_corpus(), artifacts, print)
