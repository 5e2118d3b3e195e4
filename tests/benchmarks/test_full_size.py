"""The full-size benchmark's code, on a layout of the same members that is small."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.full_size import (
    CARDS,
    COLLECTIONS,
    SD15,
    WORKS,
    Layout,
    Operations,
    cost_rows,
    figures_of,
    measure,
    pass_operations,
)

SMALL = Layout(
    latent_side=8,
    unet_channels=(32, 32, 64, 64),
    batch_prefixes=2,
    unet_layers=1,
    vae_channels=(16, 16, 32, 32),
    norm_groups=8,
    text_width=32,
    text_layers=2,
    text_heads=2,
)


@pytest.mark.slow
def test_a_query_goes_through_forgetting_and_scoring() -> None:
    run = measure(SMALL)
    assert run.influence.shape == (WORKS,)
    assert np.ptp(run.influence) > 0
    assert run.step.rise == pytest.approx(1.1, abs=0.02)
    assert run.passes >= run.forward.count + run.both.count
    figures = figures_of(run, pass_operations(SMALL), peak_gib=1.0)
    assert figures["forward_seconds"].value < figures["both_seconds"].value
    assert figures["sd15_gib"].met


def test_the_layout_is_stable_diffusions() -> None:
    """Its UNet has 860 million parameters, and a pass of it at 64 x 64 about 0.8 TFLOP (arXiv 2112.10752)."""
    operations = pass_operations(SD15)
    assert operations.forward == pytest.approx(0.8e12, rel=0.05)
    assert 2 * operations.forward < operations.both < 3 * operations.forward


def test_costs_are_operations_over_a_cards_peak() -> None:
    rows = cost_rows(Operations(forward=10**12, both=3 * 10**12))
    assert len(rows) == 4 * len(CARDS) * len(COLLECTIONS)
    coco = next(row for row in rows if row["cost"] == "each query" and row["card"] == "A100")
    assert coco["exaflop"] == pytest.approx(118_287 * 40 * 1e-6)
    assert coco["gpu_hours"] == pytest.approx(118_287 * 40 * 1e12 / (312e12 * 0.4) / 3600)
