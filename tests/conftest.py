"""Fixtures that several rooms share: a small random generator, a small real corpus, and the real parts."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator as Yields
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.memory_disk import running_in, use_memory_disk

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
use_memory_disk()

# Servers and conditions of a real deployment (tests/real_parts/README.md), and which tests share a worker.
pytest_plugins = ["tests.real_parts.fixtures", "tests.grouping"]

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.generator.pipeline import Generator
    from creditline.towers.towers import Towers


def pytest_sessionstart(session: pytest.Session) -> None:
    """Lock the run's directory of temporary files, which all its workers share, until the run ends."""
    config = session.config
    if not hasattr(config, "workerinput"):
        running = running_in(config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
        running.__enter__()
        config.add_cleanup(lambda: running.__exit__(None, None, None))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Yields[None, object, object]:
    """Collect the tests without garbage collection, which looked at a million living objects again and again.

    They live as long as the process: later garbage collections look only at what the tests make.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def random_generator_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from generator_factory import random_generator

    return random_generator(tmp_path_factory.mktemp("generator") / "random")


@pytest.fixture(scope="session")
def random_generator(random_generator_directory: Path) -> Iterator[Generator]:
    from creditline.generator.pipeline import Generator

    with Generator.open(random_generator_directory) as generator:
        yield generator


@pytest.fixture(scope="session")
def small_corpus() -> Corpus:
    """Forty real works, spread over the reference corpus."""
    from creditline.generator.reference import reference_corpus

    corpus = reference_corpus()
    return corpus.subset(corpus.ids[:: len(corpus) // 40][:40], name="small")


@pytest.fixture(scope="session")
def towers() -> Towers:
    """The embedded towers, opened once."""
    from creditline.towers.towers import Towers

    return Towers.open()
