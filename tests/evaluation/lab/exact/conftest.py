"""A training that is differentiated within seconds: a tiny UNet, in float64, on random works."""

from __future__ import annotations

import pytest
import torch

from creditline.evaluation.lab.exact.flat_unet import FlatUnet
from creditline.evaluation.lab.exact.optimiser import SmoothAdamW
from creditline.evaluation.lab.exact.training import WeightedTraining
from creditline.generator.denoiser import build_unet


@pytest.fixture(scope="session")
def tiny_training() -> WeightedTraining:
    torch.manual_seed(3)
    works = 5
    angles = torch.linspace(0.05, 1.5, 1000, dtype=torch.float64)
    data = {
        "latents": torch.randn(works, 16, 8, 8, dtype=torch.float64),
        "text": torch.randn(works, 24, 384, dtype=torch.float64),
        "empty": torch.randn(24, 384, dtype=torch.float64),
        "signal": angles.cos(),
        "noise": angles.sin(),
    }
    unet = build_unet(channels=(8, 8), norm_groups=2).double()
    optimiser = SmoothAdamW(steps=8, learning_rate=2e-3, epsilon=1e-3)
    return WeightedTraining(FlatUnet.of(unet), data, optimiser, batch=3, seed=4)
