"""The measurement of a GPU: what it makes of the numbers, and that it claims nothing without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from creditline.corpus.works import Corpus
from tests.benchmarks.device_speed import Measured, figures_of, main, measure, rows_of
from tests.benchmarks.result_files import RESULTS_DIRECTORY


def test_a_speedup_is_a_ratio_of_rates_with_the_range_of_its_runs() -> None:
    values = np.array([1.0, 2.0])
    host = {"losses": Measured((2.0, 2.0, 2.0), 100, values)}
    gpu = {"losses": Measured((0.5, 0.25, 0.2), 100, np.array([1.0, 2.02]))}
    figures = figures_of(host, gpu)
    speedup = figures["losses_speedup"]
    assert (speedup.low, speedup.value, speedup.high) == pytest.approx((4.0, 8.0, 10.0))
    assert figures["losses_difference"].value == pytest.approx(0.01)
    assert rows_of({"cuda:0": gpu}) == [{"device": "cuda:0", "work": "losses", "items_per_second": 400.0}]


@pytest.mark.slow
def test_everything_that_is_measured_runs(random_generator_directory: Path, small_corpus: Corpus) -> None:
    """On the processor: the same code as on a GPU, whose numbers agree with themselves."""
    found = measure(random_generator_directory, small_corpus.works[:2], "cpu", runs=1)
    assert set(found) == {"losses", "gradients", "pictures", "embeddings"}
    assert all(figure.value == 0.0 for name, figure in figures_of(found, found).items() if "diff" in name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, which would be measured")
def test_without_a_gpu_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(RESULTS_DIRECTORY.iterdir())
    assert main([]) == 2
    assert main(["--device", "cpu"]) == 2
    assert sorted(RESULTS_DIRECTORY.iterdir()) == before
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("nothing is measured: CREDITLINE_DEVICE or --device is 'cuda', but")
