"""Per-sample gradients in factored form, compared with autograd one example at a time."""

from __future__ import annotations

import pytest
import torch

from creditline.attribution.gradients.key_value import gradient_factors, key_value_projections, moved_weights
from creditline.attribution.methods.gradient_rows import GradientSpace
from creditline.attribution.unlearning.teacher import encode_works
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.losses import (
    Draws,
    NoisyDraws,
    batch_losses,
    common_noise,
    denoising_losses,
    noisy_batch,
)
from creditline.generator.pipeline import Generator

DRAWS = Draws(timesteps=3, repeats=2, salt="test")


def _plain_gradient(generator: Generator, example, draws: Draws) -> torch.Tensor:
    """The oracle: require gradients of the weights themselves, one example, one backward."""
    weights = [module.weight for module in key_value_projections(generator.unet).values()]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        loss = batch_losses(generator, noisy_batch(generator, example, draws)).mean()
        return torch.cat(torch.autograd.grad(loss, weights))
    finally:
        for weight in weights:
            weight.requires_grad_(False)


def test_factored_gradients_equal_autograd_on_each_example(
    random_generator: Generator, small_corpus: Corpus
) -> None:
    works = encode_works(random_generator, small_corpus.works[:5])
    dense = gradient_factors(random_generator, works, DRAWS).dense()
    for row in range(len(works)):
        plain = _plain_gradient(random_generator, works.rows([row]), DRAWS)
        assert plain.abs().max() > 0
        torch.testing.assert_close(dense[row], plain, rtol=1e-3, atol=float(plain.abs().max()) * 1e-4)


def test_gradients_and_losses_do_not_depend_on_the_batch_or_its_order(
    random_generator: Generator, small_corpus: Corpus
) -> None:
    works = encode_works(random_generator, small_corpus.works[:9])
    together = gradient_factors(random_generator, works, DRAWS)
    reversed_rows = list(range(8, -1, -1))
    apart = [gradient_factors(random_generator, works.rows([row]), DRAWS) for row in reversed_rows]
    torch.testing.assert_close(
        together.outputs[reversed_rows], torch.cat([part.outputs for part in apart]), rtol=1e-3, atol=1e-6
    )
    losses = denoising_losses(random_generator, works, DRAWS)
    torch.testing.assert_close(losses, together.losses, rtol=1e-4, atol=1e-6)


def test_noise_belongs_to_the_id_and_the_salt() -> None:
    first = DRAWS.noise("work-a", (4, 4, 4))
    torch.testing.assert_close(first, DRAWS.noise("work-a", (4, 4, 4)))
    assert (first - DRAWS.noise("work-b", (4, 4, 4))).abs().mean() > 0.5
    other_salt = Draws(timesteps=3, repeats=2, salt="other")
    assert (first - other_salt.noise("work-a", (4, 4, 4))).abs().mean() > 0.5


def test_common_noise_belongs_to_no_picture_and_is_mirrored_alike() -> None:
    draws = common_noise(Draws(timesteps=3, repeats=2, salt="test", mirrored=True))
    first = draws.noise("work-a", (4, 4, 4))
    assert torch.equal(first, draws.noise("work-b", (4, 4, 4)))
    assert torch.equal(first.view(3, 2, 64)[:, 0], -first.view(3, 2, 64)[:, 1])
    assert (first[0] - first[2]).abs().mean() > 0.5
    own = Draws(timesteps=3, repeats=2, salt="test", mirrored=True)
    assert torch.equal(draws.schedule(1000), own.schedule(1000))
    assert GradientSpace(draws=draws).origin("g", "w") != GradientSpace(draws=own).origin("g", "w")


def test_noisy_draws_stay_in_the_noisiest_part_of_the_schedule_and_are_common() -> None:
    draws = NoisyDraws(timesteps=2, salt="test", part=0.5)
    assert draws.schedule(1000).tolist() == [625, 875]
    assert torch.equal(draws.noise("work-a", (4,)), draws.noise("work-b", (4,)))


def test_mirrored_noise_comes_in_pairs_that_cancel_at_each_timestep() -> None:
    draws = Draws(timesteps=3, repeats=4, salt="test", mirrored=True)
    noise = draws.noise("work-a", (4, 4, 4))
    assert noise.shape == (len(draws), 4, 4, 4)
    by_timestep = noise.view(3, 4, 4, 4, 4)
    assert torch.equal(by_timestep[:, :2], -by_timestep[:, 2:])
    assert by_timestep[:, :2].std() == pytest.approx(1.0, abs=0.1)
    assert (by_timestep[:, 0] - by_timestep[:, 1]).abs().mean() > 0.5
    with pytest.raises(InvalidInput, match="even number of repeats; got 3"):
        Draws(timesteps=3, repeats=3, mirrored=True)


def test_moved_weights_change_the_loss_and_come_back_exactly(
    random_generator: Generator, small_corpus: Corpus
) -> None:
    works = encode_works(random_generator, small_corpus.works[:2])
    projections = key_value_projections(random_generator.unet)
    before = {name: module.weight.clone() for name, module in projections.items()}
    base = denoising_losses(random_generator, works, DRAWS)
    rows = sum(module.out_features for module in projections.values())
    change = torch.randn(rows, 384, generator=torch.Generator().manual_seed(0))
    with moved_weights(projections, change):
        moved = denoising_losses(random_generator, works, DRAWS)
    assert (moved - base).abs().max() > 1e-4
    for name, module in projections.items():
        assert torch.equal(module.weight, before[name])
