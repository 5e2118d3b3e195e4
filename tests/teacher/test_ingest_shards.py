"""A source split over worker processes: loaded by a real worker over a real Redis into a real Qdrant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.index import WorkIndex
from creditline.ledger import Ledger, WithdrawalKind
from tests.index.works_made_up import unit_vectors
from tests.local.qdrant_process import local_qdrant
from tests.teacher.conftest import Services, start_process, worker_plan

pytestmark = pytest.mark.slow
_PARTS, _WORKS = 4, 200


def _source(directory: Path) -> Path:
    """Four parts, as clip-retrieval writes them."""
    directory.mkdir()
    for part in range(_PARTS):
        np.save(directory / f"img_emb_{part}.npy", unit_vectors(_WORKS, seed=part).astype(np.float16))
        columns = {
            "key": [f"{part}-{row}" for row in range(_WORKS)],
            "caption": [f"picture {row}" for row in range(_WORKS)],
            "contributor": ["ana" if row == 7 else "bo" for row in range(_WORKS)],
        }
        pq.write_table(pa.table(columns), directory / f"metadata_{part}.parquet")
    return directory


@pytest.mark.heavy
def test_workers_load_a_source_and_write_withdrawn_works_as_withdrawn(
    services: Services, tmp_path: Path
) -> None:
    with local_qdrant(tmp_path / "qdrant") as running:
        environment = {
            "CREDITLINE_QDRANT_HOST": "127.0.0.1",
            "CREDITLINE_QDRANT_GRPC_PORT": str(running.port),
            "CREDITLINE_TEACHER_QUEUES": "ingest",
        }
        with Ledger.open(services.environment["CREDITLINE_LEDGER_URL"]) as ledger:
            ledger.withdraw(WithdrawalKind.CONTRIBUTOR, "ana")
        worker = start_process(worker_plan(services, **environment), tmp_path / "teacher.log")
        command = [
            sys.executable,
            "-m",
            "creditline.cli.main",
            "index",
            "ingest",
            str(_source(tmp_path / "source")),
        ]
        command += ["--into", "works-mine.1", "--celery", "2", "--checkpoint", str(tmp_path / "checkpoint")]
        try:
            ended = subprocess.run(
                command,
                env=os.environ | services.environment | environment,
                capture_output=True,
                text=True,
                timeout=200,
            )
        finally:
            worker.stop()
        assert ended.returncode == 0, ended.stderr
        assert "loader 1/2: 400 works, 0 broken rows" in ended.stdout
        assert "loader 2/2: 400 works" in ended.stdout
        with WorkIndex.connect(grpc_port=running.port) as index:
            assert index.count("works-mine.1") == _PARTS * _WORKS
            assert index.withdrawn_works("works-mine.1") == {f"{part}-7" for part in range(_PARTS)}
