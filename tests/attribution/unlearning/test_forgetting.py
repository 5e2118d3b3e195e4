"""Unlearning procedures: the query's loss reaches its target, and the weights are restored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from creditline.attribution.attributor import Gallery
from creditline.attribution.fisher.ekfac import EkfacFisher, fit_ekfac
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.unlearning.forgetting import BoundedDescentAscent, NaturalAscent
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, denoising_losses, noisy_batch
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=4, repeats=2, salt="test")
HELD = Draws(timesteps=4, repeats=2, salt="held")
# The step rule's, relative to the loss from which the last step goes on.
_TOLERANCE = 0.021
_REACH, _ASKED_RISE = 0.95, 1.3

# Makes a way to forget that fits the generator, its works and the query.
WayMaker = Callable[[Generator, Gallery, Examples], NaturalAscent | BoundedDescentAscent]


class Interrupted(Exception):
    """An unrelated failure while the query is unlearned."""


@pytest.fixture
def works(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "work", 12)


@pytest.fixture
def query(random_generator: Generator) -> Examples:
    return random_gallery(random_generator, "query", 1).examples


def fitted(generator: Generator, works: Gallery, parameters: ParameterChoice) -> EkfacFisher:
    return fit_ekfac(generator, works.examples, DRAWS, chosen_layers(generator.unet, parameters))


def natural_ascent(generator: Generator, works: Gallery, query: Examples) -> NaturalAscent:
    fisher = fitted(generator, works, "cross-attn")
    return NaturalAscent(fisher, steps=2, query_draws=DRAWS, check_draws=HELD)


def bounded(generator: Generator, works: Gallery, query: Examples) -> BoundedDescentAscent:
    """Raises the query's loss by about 30 %, slowly: a few dozen steps."""
    null_loss = _ASKED_RISE / _REACH * prediction_error(generator, query)
    return BoundedDescentAscent(
        works.examples, 3e-5, null_loss, reach=_REACH, batch=4, query_batch=8, most_steps=200
    )


both_ways = pytest.mark.parametrize("make", [natural_ascent, bounded])


@torch.no_grad()
def prediction_error(generator: Generator, query: Examples) -> float:
    """Mean squared error of what the UNet predicts, at many noises."""
    batch = noisy_batch(generator, query, Draws(timesteps=50, repeats=4, salt="many"))
    predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
    return float((predicted - batch.targets).square().mean())


def weights(generator: Generator) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in generator.unet.state_dict().items()}


def changed(before: dict[str, Tensor], generator: Generator) -> set[str]:
    """Names of the weights that differ in any bit."""
    return {
        name for name, value in generator.unet.state_dict().items() if not torch.equal(value, before[name])
    }


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("rise", [0.1, 0.3])
@pytest.mark.parametrize("parameters", ["cross-attn", "all"])
def test_the_querys_loss_rises_as_requested_at_noise_that_the_gradient_did_not_see(
    random_generator: Generator,
    works: Gallery,
    query: Examples,
    parameters: ParameterChoice,
    rise: float,
    steps: int,
) -> None:
    fisher = fitted(random_generator, works, parameters)
    way = NaturalAscent(fisher, parameters, steps=steps, rise=rise, query_draws=DRAWS, check_draws=HELD)
    before = float(denoising_losses(random_generator, query, HELD).mean())
    with way.forget(random_generator, query) as forgotten:
        after = float(denoising_losses(random_generator, query, HELD).mean())
    assert (forgotten.loss_before, forgotten.loss_after) == (before, after)
    assert after / before == pytest.approx(1.0 + rise, rel=_TOLERANCE)


def test_one_step_goes_along_the_natural_gradient(
    random_generator: Generator, works: Gallery, query: Examples
) -> None:
    layers = chosen_layers(random_generator.unet, "cross-attn")
    fisher = fitted(random_generator, works, "cross-attn")
    direction = fisher.natural(per_sample_gradients(random_generator, query, DRAWS, layers), damping=0.3)[0]
    before = torch.cat([module.weight.flatten() for module in layers.values()])
    way = NaturalAscent(fisher, damping=0.3, query_draws=DRAWS, check_draws=HELD)
    with way.forget(random_generator, query):
        change = torch.cat([module.weight.flatten() for module in layers.values()]) - before
    assert float(torch.cosine_similarity(change, direction, dim=0)) == pytest.approx(1.0, abs=1e-3)


def test_the_passes_are_those_of_gradients_and_of_evaluated_losses(
    random_generator: Generator, works: Gallery, query: Examples
) -> None:
    passes = 0

    def count(module: object, inputs: tuple[Tensor, ...], output: object) -> None:
        nonlocal passes
        passes += len(inputs[0])

    way = natural_ascent(random_generator, works, query)
    hook = random_generator.unet.register_forward_hook(count)
    with way.forget(random_generator, query) as forgotten:
        hook.remove()
    backward = way.steps * 2 * len(DRAWS)
    assert passes + backward - forgotten.passes <= len(HELD)
    assert passes + backward >= forgotten.passes


def test_ascent_and_descent_end_when_the_query_is_near_unknown(
    random_generator: Generator, works: Gallery, query: Examples
) -> None:
    before = prediction_error(random_generator, query)
    way = bounded(random_generator, works, query)
    with way.forget(random_generator, query) as forgotten:
        after = prediction_error(random_generator, query)
    steps = forgotten.passes / (3 * (4 + 8))
    assert 12 <= steps <= 100
    assert forgotten.loss_before == pytest.approx(before, rel=0.2)
    assert forgotten.loss_after >= _REACH * way.null_loss
    assert after / before > 1.2


def test_works_to_be_retained_are_forgotten_less(
    random_generator: Generator, works: Gallery, query: Examples
) -> None:
    before = sum(prediction_error(random_generator, works.examples.rows([row])) for row in range(12)) / 12
    with bounded(random_generator, works, query).forget(random_generator, query) as forgotten:
        after = sum(prediction_error(random_generator, works.examples.rows([row])) for row in range(12)) / 12
    assert after / before < 0.9 * forgotten.loss_after / forgotten.loss_before


@both_ways
def test_the_same_query_is_forgotten_the_same_way_again(
    random_generator: Generator, works: Gallery, query: Examples, make: WayMaker
) -> None:
    way = make(random_generator, works, query)
    with way.forget(random_generator, query) as first:
        moved = weights(random_generator)
    with way.forget(random_generator, query) as second:
        assert changed(moved, random_generator) == set()
    assert first == second


@both_ways
def test_only_the_chosen_weights_move_and_afterwards_all_are_exactly_as_before(
    random_generator: Generator, works: Gallery, query: Examples, make: WayMaker
) -> None:
    way, before = make(random_generator, works, query), weights(random_generator)
    chosen = chosen_layers(random_generator.unet, way.parameters)
    with way.forget(random_generator, query):
        moved = changed(before, random_generator)
    assert moved
    assert {name.rpartition(".")[0] for name in moved} <= set(chosen)
    assert changed(before, random_generator) == set()
    assert not any(weight.requires_grad for weight in random_generator.unet.parameters())


@both_ways
def test_weights_are_as_before_when_something_goes_wrong_while_the_query_is_forgotten(
    random_generator: Generator, works: Gallery, query: Examples, make: WayMaker
) -> None:
    way, before = make(random_generator, works, query), weights(random_generator)
    with pytest.raises(Interrupted), way.forget(random_generator, query):
        raise Interrupted
    assert changed(before, random_generator) == set()
    assert not any(weight.requires_grad for weight in random_generator.unet.parameters())


def test_a_bound_out_of_reach_is_refused_naming_the_query(
    random_generator: Generator, works: Gallery, query: Examples
) -> None:
    before = weights(random_generator)
    way = BoundedDescentAscent(works.examples, 1e-6, null_loss=1e6, batch=2, query_batch=2, most_steps=3)
    with (
        pytest.raises(
            InvalidInput, match=r"query query-0 is not unlearned after 3 steps: .* allow more steps"
        ),
        way.forget(random_generator, query),
    ):
        pass
    assert changed(before, random_generator) == set()
    assert not any(weight.requires_grad for weight in random_generator.unet.parameters())
