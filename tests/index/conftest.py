"""A real local Qdrant for the tests of the index, started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from creditline.index import IndexPlan, WorkIndex
from creditline.index.plan import Dtype
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors
from tests.local.qdrant_process import local_qdrant

WORKS = 3_000
# Thresholds of 1 kB make Qdrant build and use its graph even for few works; float32 vectors give the scores
# of the oracle.
GRAPH_PLAN = IndexPlan(full_scan_threshold_kilobytes=1, indexing_threshold_kilobytes=1, dtype=Dtype.FLOAT32)


@pytest.fixture(scope="session")
def qdrant_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory: Path = tmp_path_factory.mktemp("qdrant")
    with local_qdrant(directory) as running:
        yield running.port


@pytest.fixture(scope="session")
def index(qdrant_port: int) -> Iterator[WorkIndex]:
    with WorkIndex.connect(grpc_port=qdrant_port, plan=GRAPH_PLAN) as connected:
        yield connected


@pytest.fixture(scope="session")
def filled(index: WorkIndex) -> str:
    """A collection of 3,000 works with its graph built; tests must not modify it."""
    index.create("filled", WIDTH)
    index.upsert("filled", made_up_works(unit_vectors(WORKS)))
    index.optimize("filled")
    return "filled"
