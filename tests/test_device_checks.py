"""The device checks themselves: the code that they accept, and the faults that they find."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from tests.device_checks import META, MixedDevices, fake_cuda, one_device


def test_a_model_fed_from_the_host_is_found() -> None:
    model = nn.Linear(3, 2).to(META)
    with one_device(), pytest.raises(MixedDevices, match=r"\(4, 3\) on cpu"):
        model(torch.zeros(4, 3))


def test_rows_that_are_picked_by_an_index_on_the_host_are_found() -> None:
    values = torch.zeros(5, 3, device=META)
    with one_device(), pytest.raises(MixedDevices, match="index"):
        values[torch.tensor([1, 2])]


def test_a_tensor_made_on_the_host_in_the_backward_pass_is_found() -> None:
    class Careless(torch.autograd.Function):
        @staticmethod
        def forward(context: object, values: torch.Tensor) -> torch.Tensor:
            return values * 2

        @staticmethod
        def backward(context: object, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return gradient * torch.full(gradient.shape, 2.0)

    weights = torch.zeros(3, device=META, requires_grad=True)
    with one_device():
        loss = Careless.apply(weights).sum()
        with pytest.raises(MixedDevices):
            loss.backward()


def test_numpy_without_a_copy_to_the_host_is_found() -> None:
    with one_device(), pytest.raises((TypeError, RuntimeError), match="meta"):
        torch.zeros(3, device=META).numpy()


def test_code_goes_on_behind_a_copy_to_the_host() -> None:
    model = nn.Linear(3, 2).to(META)
    optimiser = torch.optim.AdamW(model.parameters())
    with one_device() as checked:
        losses = []
        for _ in range(4):
            loss = model(torch.zeros(4, 3).to(META)).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
        values = model.weight.detach().cpu().numpy()
    assert losses[-1] > losses[0]
    assert np.array_equal(values, np.ones((2, 3)))
    assert checked.host_copies == 5


def test_a_pretended_gpu_takes_what_is_moved_there_and_nothing_else() -> None:
    with fake_cuda() as place:
        model = place(nn.Linear(3, 2))
        found = model(torch.zeros(4, 3).to("cuda:0"))
        assert isinstance(found, FakeTensor)
        assert str(found.device) == "cuda:0"
        with pytest.raises(
            RuntimeError, match="all tensors to be on the same device, but found at least two devices"
        ):
            model(torch.zeros(4, 3))
