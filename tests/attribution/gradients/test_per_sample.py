"""Per-sample gradients of all kinds of layers, against torch.func on one example at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

from creditline.attribution.gradients.draw_weights import relative_draw_weights
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import moved_layers, parameter_count, per_sample_gradients
from creditline.attribution.gradients.targets import GRADIENT_TARGETS, gradient_target_by_name
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, denoising_losses, noisy_batch
from creditline.generator.pipeline import Generator

DRAWS = Draws(timesteps=3, repeats=2, salt="test")


@pytest.fixture
def examples(random_generator: Generator) -> Examples:
    draw = torch.Generator().manual_seed(5)
    config = random_generator.unet.config
    shape = (5, config.in_channels, config.sample_size, config.sample_size)
    return Examples(
        tuple(f"example-{number}" for number in range(5)),
        torch.randn(shape, generator=draw),
        torch.randn((5, 7, config.cross_attention_dim), generator=draw),
    )


def slow_gradient(
    generator: Generator, example: Examples, layers: dict[str, nn.Module], measure: str
) -> torch.Tensor:
    """The definition: the derivative of the mean over all draws of one example."""
    names = [f"{layer}.{name}" for layer, module in layers.items() for name, _ in module.named_parameters()]
    weights = dict(generator.unet.named_parameters())
    chosen = {name: weights[name].detach() for name in names}
    batch = noisy_batch(generator, example, DRAWS)

    def mean_measure(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        output = functional_call(generator.unet, parameters, (batch.inputs, batch.timesteps, batch.text))
        return GRADIENT_TARGETS[measure](batch, output.sample).mean()

    gradient = grad(mean_measure)(chosen)
    return torch.cat([gradient[name].flatten() for name in names])


@pytest.mark.parametrize("choice", ["cross-attn", "attn", "mlp-cond", "all"])
def test_it_is_the_derivative_of_each_examples_loss(
    random_generator: Generator, examples: Examples, choice: ParameterChoice
) -> None:
    layers = chosen_layers(random_generator.unet, choice)
    gradients = per_sample_gradients(random_generator, examples, DRAWS, layers)
    assert gradients.shape == (5, parameter_count(layers))
    for row in (0, 4):
        expected = slow_gradient(random_generator, examples.rows([row]), layers, "loss")
        torch.testing.assert_close(
            gradients[row], expected, rtol=2e-3, atol=1e-5 * float(expected.abs().max())
        )


@pytest.mark.parametrize("name", sorted(GRADIENT_TARGETS))
def test_every_output_function_has_its_own_gradient(
    random_generator: Generator, examples: Examples, name: str
) -> None:
    layers = chosen_layers(random_generator.unet, "attn")
    found = per_sample_gradients(
        random_generator, examples, DRAWS, layers, measure=gradient_target_by_name(name)
    )
    expected = slow_gradient(random_generator, examples.rows([2]), layers, name)
    torch.testing.assert_close(found[2], expected, rtol=2e-3, atol=1e-5 * float(expected.abs().max()))


def test_timesteps_average_to_the_whole_gradient(random_generator: Generator, examples: Examples) -> None:
    layers = chosen_layers(random_generator.unet, "all")
    whole = per_sample_gradients(random_generator, examples, DRAWS, layers)
    apart = per_sample_gradients(random_generator, examples, DRAWS, layers, by_timestep=True)
    assert apart.shape == (5, 3, whole.shape[1])
    torch.testing.assert_close(apart.mean(dim=1), whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_draw_weights_are_the_weights_of_the_mean(random_generator: Generator, examples: Examples) -> None:
    layers = chosen_layers(random_generator.unet, "cross-attn")
    apart = per_sample_gradients(random_generator, examples, DRAWS, layers, by_timestep=True)
    only_last = torch.tensor([0.0, 0.0, 0.0, 0.0, 3.0, 3.0])
    found = per_sample_gradients(random_generator, examples, DRAWS, layers, draw_weights=only_last)
    torch.testing.assert_close(found, apart[:, 2], rtol=1e-4, atol=1e-6)


def test_batches_of_any_size_give_the_same_numbers(random_generator: Generator, examples: Examples) -> None:
    layers = chosen_layers(random_generator.unet, "all")
    together = per_sample_gradients(random_generator, examples, DRAWS, layers)
    alone = torch.cat(
        [per_sample_gradients(random_generator, examples.rows([row]), DRAWS, layers) for row in range(5)]
    )
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-5 * float(together.abs().max()))


def test_moving_along_a_gradient_changes_the_loss_by_its_square(
    random_generator: Generator, examples: Examples
) -> None:
    layers = chosen_layers(random_generator.unet, "all")
    example = examples.rows([1])
    gradient = per_sample_gradients(random_generator, example, DRAWS, layers)[0]
    before = denoising_losses(random_generator, example, DRAWS)
    size = float(1e-3 * before.mean() / gradient.square().sum())
    with moved_layers(layers, size * gradient):
        after = denoising_losses(random_generator, example, DRAWS)
    assert float((after - before).mean()) == pytest.approx(size * float(gradient.square().sum()), rel=0.05)
    assert torch.equal(denoising_losses(random_generator, example, DRAWS), before)


def test_an_unknown_choice_is_refused_with_the_known_ones(random_generator: Generator) -> None:
    with pytest.raises(InvalidInput, match="cross-attn, attn, mlp-cond, all"):
        chosen_layers(random_generator.unet, "some")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="squared-l2"):
        gradient_target_by_name("l3")


def test_a_layer_that_the_output_does_not_depend_on_is_named(
    random_generator: Generator, examples: Examples
) -> None:
    idle = {"idle": nn.Linear(2, 2), **chosen_layers(random_generator.unet, "cross-attn")}
    with pytest.raises(InvalidInput, match="layer idle has no gradient"):
        per_sample_gradients(random_generator, examples, DRAWS, idle)


def test_a_timestep_without_losses_has_no_weight() -> None:
    losses = torch.tensor([[1.0, 2.0, 0.0], [3.0, 6.0, 0.0]]).numpy()
    weights = relative_draw_weights(losses, Draws(timesteps=3))
    torch.testing.assert_close(weights, torch.tensor([2.0, 1.0, 0.0]))
    with pytest.raises(InvalidInput, match="finite and not all 0"):
        relative_draw_weights(0.0 * losses, Draws(timesteps=3))
