"""Gradients and factored sketches against dattri 0.3.0, an independent implementation (`rivals`)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.gradients.sketches.factored import FactorMap
from creditline.attribution.gradients.sketches.making import ProjectedFactors, gradient_sketches
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.generator.losses import Draws, Examples, noisy_batch
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

pytestmark = pytest.mark.heavy
pytest.importorskip("dattri", reason="creditline[rivals] is not installed")

DRAWS, SIDE = Draws(timesteps=3, repeats=2, salt="dattri"), 4
MEASURE = gradient_target_by_name("squared-l2")


@pytest.fixture
def works(random_generator: Generator) -> Examples:
    return random_gallery(random_generator, "work", 3).examples


def test_gradients_are_those_of_dattris_task(random_generator: Generator, works: Examples) -> None:
    from dattri.task import AttributionTask

    layers = chosen_layers(random_generator.unet, "attn")
    # dattri only knows parameters that require a gradient.
    unet = copy.deepcopy(random_generator.unet).requires_grad_(True)
    names = [f"{layer}.{name}" for layer, module in layers.items() for name, _ in module.named_parameters()]
    batch = noisy_batch(random_generator, works, DRAWS)
    columns = (batch.inputs, batch.timesteps, batch.text)

    def target(parameters: dict[str, torch.Tensor], data: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return functional_call(unet, parameters, data).sample.square().mean(dim=(1, 2, 3)).mean()

    task = AttributionTask(target, unet, dict(unet.state_dict()))
    gradients = task.get_grad_target_func(in_dims=(None, 0), layer_name=names, ckpt_idx=0)
    parameters, _ = task.get_param(ckpt_idx=0, layer_name=names)
    theirs = gradients(parameters, tuple(column.view(3, len(DRAWS), *column.shape[1:]) for column in columns))
    ours = per_sample_gradients(random_generator, works, DRAWS, layers, measure=MEASURE)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-3, atol=1e-5 * float(ours.abs().max()))


@pytest.mark.parametrize("kind", ["normal", "random_mask"])
def test_factored_sketches_are_those_of_dattris_hooks(
    random_generator: Generator, works: Examples, kind: str
) -> None:
    from dattri.algorithm.block_projected_if.core.compressor import setup_model_compressors
    from dattri.algorithm.block_projected_if.core.hook import HookManager

    layers = chosen_layers(random_generator.unet, "attn")
    unet = copy.deepcopy(random_generator.unet)
    for name in layers:
        # Its hooks compress nothing where neither a layer's input nor its weight requires a gradient.
        unet.get_submodule(name).requires_grad_(True)
    batch = noisy_batch(random_generator, works, DRAWS)
    plain = {"device": "cpu", "proj_max_batch_size": 64}
    compressors = setup_model_compressors(
        unet,
        list(layers),
        sparsifier_kwargs={**plain, "proj_dim": SIDE, "proj_type": kind},
        projector_kwargs={**plain, "proj_dim": -1, "proj_type": "identity"},
        sample_inputs={
            "sample": batch.inputs,
            "timestep": batch.timesteps,
            "encoder_hidden_states": batch.text,
        },
    )
    hooks = HookManager(unet, list(layers))
    hooks.set_compressors(compressors)
    MEASURE(batch, unet(batch.inputs, batch.timesteps, batch.text).sample).sum().backward()
    by_pass = torch.cat([gradient.flatten(1) for gradient in hooks.get_compressed_grads()], dim=1)
    # It multiplies by the batch size, as if the loss were a mean over the batch.
    theirs = by_pass.view(3, len(DRAWS), -1).mean(dim=1) / len(batch.timesteps)
    maps = {
        name: _their_map(compressor, module)
        for (name, module), compressor in zip(layers.items(), compressors, strict=True)
    }
    sketch = ProjectedFactors(layers, maps, None)
    ours = gradient_sketches(random_generator, works, DRAWS, sketch, measure=MEASURE)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-3, atol=1e-5 * float(ours.abs().max()))


def _their_map(compressor: Any, module: nn.Module) -> FactorMap:
    """Its matrices of one layer, from projected unit vectors."""
    outputs, inputs = module.weight.shape
    first, second = compressor.sparsifier.sparsifier_comp
    return FactorMap(
        first(torch.eye(outputs), ensemble_id=0),
        second(torch.eye(inputs + (module.bias is not None)), ensemble_id=0),
    )
