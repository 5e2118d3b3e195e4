"""The embedder's benchmark: its items, and a worker that measures a version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.paired_ratios import ratio_of_medians
from tests.benchmarks.result_files import REPOSITORY
from tests.benchmarks.serving.embed import figures, version_worker, write_items


@pytest.mark.heavy
def test_a_worker_gives_unit_vectors_and_a_rate_for_each_load(tmp_path: Path) -> None:
    items = write_items(tmp_path / "items.npz", 4)
    with version_worker(REPOSITORY / "services", items, "eager") as running:
        vectors = np.array(running.started["vectors"])
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
        assert running.rate(2, 4) > 0.5
    assert running.process.returncode == 0


def test_the_figures_are_ratios_of_medians_within_their_intervals() -> None:
    assert ratio_of_medians([9.0, 18.0, 20.0], [12.0, 20.0, 21.0])[0] == pytest.approx(0.9)
    rates = [{"today": 10.0 + turn, "ours": 40.0, "eager": 20.0} for turn in range(5)]
    rows = [{"load": load, **rate} for load in ("32 waiting", "one at a time") for rate in rates]
    found = figures(rows)
    assert found["embed_over_today"].value == pytest.approx(40 / 12)
    assert found["embed_over_tuned_eager"].met
    low, high = found["embed_over_today_single"].low, found["embed_over_today_single"].high
    assert low is not None
    assert high is not None
    assert low < 40 / 12 < high
