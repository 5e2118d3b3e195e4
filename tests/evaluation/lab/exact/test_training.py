"""The training as a function of the works' weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from creditline.evaluation.lab.exact.flat_unet import FlatUnet
from creditline.evaluation.lab.exact.optimiser import SmoothAdamW, State, advance
from creditline.evaluation.lab.exact.training import WeightedTraining
from creditline.evaluation.lab.retraining.denoiser import LabTask
from creditline.generator.denoiser import build_unet, trainable
from creditline.generator.training import Schedule, learning_rate_at


def _single(training: WeightedTraining) -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in training.data.items()}


def test_a_step_draws_and_weighs_what_the_labs_training_does(
    tiny_training: WeightedTraining, tmp_path: Path
) -> None:
    data = _single(tiny_training)
    save_file(data, tmp_path / "works.safetensors")
    task = LabTask(tmp_path / "works.safetensors", tuple(range(tiny_training.works)))
    task.open()
    unet = build_unet(channels=(8, 8), norm_groups=2)
    generator = torch.Generator().manual_seed(4 * 1_000_003 + 5)
    theirs = task.loss(trainable(unet), generator, 3)
    training = WeightedTraining(FlatUnet.of(unet), data, tiny_training.optimiser, batch=3, seed=4)
    ours = training.losses(training.model.split(training.model.initial()), training.step_inputs(5))
    torch.testing.assert_close(ours.mean(), theirs.detach())


def test_the_optimiser_is_adamw_where_the_bound_of_its_step_is_small() -> None:
    torch.manual_seed(0)
    optimiser = SmoothAdamW(steps=6, learning_rate=1e-2, epsilon=1e-8, weight_decay=0.1)
    parameter = torch.nn.Parameter(torch.randn(20, dtype=torch.float64))
    theirs = torch.optim.AdamW([parameter], 1e-2, weight_decay=0.1)
    state = State.start(parameter.detach().clone())
    for step in range(6):
        gradient = torch.randn(20, dtype=torch.float64)
        theirs.param_groups[0]["lr"] = optimiser.rate(step)
        parameter.grad = gradient
        theirs.step()
        state = advance(optimiser, state, gradient, step)
    torch.testing.assert_close(state.weights, parameter.detach())


def test_the_learning_rate_is_that_of_the_generators_training() -> None:
    optimiser = SmoothAdamW(steps=100, learning_rate=1e-3, epsilon=1e-8)
    schedule = Schedule(minutes=0.0, batch=1, learning_rate=1e-3, workers=1, seed=0)
    assert [optimiser.rate(step) for step in range(100)] == [
        learning_rate_at(step, 100, schedule) for step in range(100)
    ]


def test_a_work_of_weight_zero_is_not_learnt_from(tiny_training: WeightedTraining) -> None:
    of_works = torch.ones(tiny_training.works, dtype=torch.float64)
    of_works[2] = 0.0
    changed = dict(tiny_training.data)
    changed["latents"] = changed["latents"].clone()
    changed["latents"][2] += 100.0
    other = WeightedTraining(
        tiny_training.model, changed, tiny_training.optimiser, tiny_training.batch, tiny_training.seed
    )
    assert any(2 in tiny_training.step_inputs(step).rows for step in range(tiny_training.optimiser.steps))
    torch.testing.assert_close(other.run(of_works).average, tiny_training.run(of_works).average)


def test_a_training_continued_from_a_state_ends_as_one_in_a_single_run(
    tiny_training: WeightedTraining,
) -> None:
    of_works = torch.ones(tiny_training.works, dtype=torch.float64)
    half = tiny_training.run(of_works, steps=range(4))
    continued = tiny_training.run(of_works, half, range(4, 8))
    assert torch.equal(continued.average, tiny_training.run(of_works).average)
