"""The ingest's benchmark: its source, the ratio of its rates, and its measure of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from creditline.corpus.sources import open_source
from tests.benchmarks.bring.ingest import Memory, write_parts
from tests.benchmarks.paired_ratios import ratio_of_medians
from tests.processes import wait_until


def test_the_parts_hold_captioned_pictures_of_several_sizes(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, 12, 3)
    sources = [open_source(path) for path in paths]
    works = [found.work for source in sources for part in source.parts() for found in source.read(part)]
    assert len(works) == 12
    assert all(work is not None and work.caption for work in works)
    assert len({work.picture().size for work in works if work is not None}) > 1


def test_the_ratio_is_that_of_the_medians_and_lies_in_its_interval() -> None:
    ratio, low, high = ratio_of_medians([9.0, 18.0, 20.0], [12.0, 20.0, 21.0])
    assert ratio == pytest.approx(0.9)
    assert low < ratio < high
    assert ratio_of_medians([9.0] * 5, [10.0] * 5) == pytest.approx((0.9, 0.9, 0.9))


def test_memory_is_sampled_only_while_something_is_measured() -> None:
    with Memory({"self": os.getpid()}) as memory:
        memory.sampling.set()
        wait_until(lambda: len(memory.samples["self"]) >= 3, "three samples")
        memory.sampling.clear()
    assert min(memory.samples["self"]) > 10_000_000
    memory.samples["self"] = [100, 100, 110, 120]
    assert memory.growth("self") == pytest.approx(1.15)
