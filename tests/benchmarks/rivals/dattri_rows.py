"""Our gradient sketches against dattri's rows, in one process of an interpreter that has dattri.

Rows of the attention's projections of the lab's UNet, the squared output averaged over 24 draws, from the
same works at the same noise, projected to `SIZE` numbers. dattri's ways on a CPU, with what helps it:

- `random_project` (a mask, and normal, which is three times as fast as Rademacher) of per-sample gradients by
  its `AttributionTask`, which averages the draws inside its target function; gradients of `GRADIENT_BATCH`
  works at a time, which was fastest, and projection of `PROJECTED` works in one call, so that its matrix is
  generated once for all of them;
- LoGRA's hooks (`HookManager` with two-sided normal matrices, `SIDE` x `SIDE` per layer, no second stage),
  which compress each draw by itself; the draws are averaged afterwards.

Writes processor seconds per work by run, of all ways in turn, as JSON to the standard output's last line.
"""

from __future__ import annotations

import copy
import json
import sys
import time
import warnings
from collections.abc import Callable

import torch
from dattri.algorithm.block_projected_if.core.compressor import setup_model_compressors
from dattri.algorithm.block_projected_if.core.hook import HookManager
from dattri.func.projection import random_project
from dattri.task import AttributionTask
from torch import Tensor, nn
from torch.func import functional_call

from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.attribution.gradients.sketches.factored import two_sided
from creditline.attribution.gradients.sketches.making import (
    ProjectedFactors,
    ProjectedLayers,
    gradient_sketches,
)
from creditline.attribution.gradients.sketches.sparse import SparseSigns
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.attribution.methods.hyperparameters import FEW_DRAWS, FEW_OUTPUT
from creditline.generator.losses import Examples, noisy_batch
from creditline.generator.pipeline import Generator
from tests.benchmarks.rivals.lab_works import lab_works

WORKS, PROJECTED, RUNS, SIZE, SIDE, GRADIENT_BATCH = 8, 128, 3, 8192, 16, 1
_MEASURE = gradient_target_by_name(FEW_OUTPUT.measure)


class DattriGradients:
    """Per-sample gradients by dattri's task, one sample per work with all of its draws."""

    def __init__(self, generator: Generator, examples: Examples, layers: dict[str, nn.Module]) -> None:
        # dattri only knows parameters that require a gradient.
        self._unet = copy.deepcopy(generator.unet).requires_grad_(True)
        names = [
            f"{layer}.{name}" for layer, module in layers.items() for name, _ in module.named_parameters()
        ]
        batch, draws = noisy_batch(generator, examples, FEW_DRAWS), len(FEW_DRAWS)
        columns = (batch.inputs, batch.timesteps, batch.text)
        self._data = tuple(column.view(-1, draws, *column.shape[1:]) for column in columns)
        task = AttributionTask(self._target, self._unet, dict(self._unet.state_dict()))
        self._gradients = task.get_grad_target_func(in_dims=(None, 0), layer_name=names, ckpt_idx=0)
        self._parameters, _ = task.get_param(ckpt_idx=0, layer_name=names)

    def _target(self, parameters: dict[str, Tensor], data: tuple[Tensor, ...]) -> Tensor:
        predicted = functional_call(self._unet, parameters, data).sample
        return predicted.square().mean(dim=(1, 2, 3)).mean()

    def rows(self) -> Tensor:
        """(N, P)."""
        parts = zip(*(column.split(GRADIENT_BATCH) for column in self._data), strict=True)
        return torch.cat([self._gradients(self._parameters, part).detach() for part in parts])


class DattriHooks:
    """Rows by LoGRA's hooks, one sample per draw."""

    def __init__(self, generator: Generator, examples: Examples, layers: dict[str, nn.Module]) -> None:
        self._unet = copy.deepcopy(generator.unet).requires_grad_(False)
        # Its hooks compress nothing, without a word, where neither a layer's input nor its weight requires a
        # gradient; the weights' gradients themselves are never made.
        for name in layers:
            self._unet.get_submodule(name).requires_grad_(True)
        self._generator, self._examples = generator, examples
        batch = noisy_batch(generator, examples.rows([0]), FEW_DRAWS)
        plain = {"device": "cpu", "proj_max_batch_size": 64}
        compressors = setup_model_compressors(
            self._unet,
            list(layers),
            sparsifier_kwargs={**plain, "proj_dim": SIDE, "proj_type": "normal"},
            projector_kwargs={**plain, "proj_dim": -1, "proj_type": "identity"},
            sample_inputs={
                "sample": batch.inputs,
                "timestep": batch.timesteps,
                "encoder_hidden_states": batch.text,
            },
        )
        self._hooks = HookManager(self._unet, list(layers))
        self._hooks.set_compressors(compressors)

    def rows(self) -> Tensor:
        """(N, numbers of all layers)."""
        return torch.stack([self._row(self._examples.rows([row])) for row in range(len(self._examples))])

    def _row(self, example: Examples) -> Tensor:
        batch = noisy_batch(self._generator, example, FEW_DRAWS)
        predicted = self._unet(batch.inputs, batch.timesteps, batch.text).sample
        _MEASURE(batch, predicted).mean().backward()
        by_draw = torch.cat([gradient.flatten(1) for gradient in self._hooks.get_compressed_grads()], dim=1)
        # They multiply by the batch size, in the belief that the loss is a mean over samples.
        return by_draw.mean(dim=0)


def assert_same(dattri: DattriGradients, generator: Generator, examples: Examples) -> None:
    """Both gradients are the same to rounding, before anything is timed."""
    layers = chosen_layers(generator.unet, FEW_OUTPUT.parameters)
    ours = per_sample_gradients(generator, examples, FEW_DRAWS, layers, measure=_MEASURE)
    torch.testing.assert_close(dattri.rows(), ours, rtol=1e-3, atol=1e-5 * float(ours.abs().max()))


def seconds_of(run: Callable[[], Tensor]) -> float:
    """Processor time of a run, which other processes on the machine disturb less than the clock."""
    started = time.process_time()
    run()
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    # On a CPU, vmap has no batching rule for attention and says so for each call.
    warnings.filterwarnings("ignore", category=UserWarning)
    with lab_works(WORKS) as (generator, examples):
        layers = chosen_layers(generator.unet, FEW_OUTPUT.parameters)
        width = parameter_count(layers)
        gradients, hooks = (
            DattriGradients(generator, examples, layers),
            DattriHooks(generator, examples, layers),
        )
        assert_same(gradients, generator, examples)
        many = torch.zeros(PROJECTED, width)
        normal, mask = (
            random_project(many, PROJECTED, SIZE, 32, proj_type=kind) for kind in ("normal", "random_mask")
        )
        sketch = ProjectedLayers(layers, SparseSigns(width, SIZE, 0))
        factored = ProjectedFactors(layers, two_sided(layers, SIDE, SIDE, 0), None)
        runs: dict[str, Callable[[], Tensor]] = {
            "ours": lambda: gradient_sketches(generator, examples, FEW_DRAWS, sketch, measure=_MEASURE),
            "ours two-sided": lambda: gradient_sketches(
                generator, examples, FEW_DRAWS, factored, measure=_MEASURE
            ),
            "dattri mask": lambda: mask(gradients.rows(), 0),
            "dattri normal": lambda: normal(many, 0),
            "dattri hooks": hooks.rows,
        }
        hooks.rows()
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(RUNS):
            for name, run in runs.items():
                seconds[name].append(seconds_of(run))
    seconds["dattri normal"] = [
        masked / WORKS + projected / PROJECTED
        for masked, projected in zip(seconds["dattri mask"], seconds["dattri normal"], strict=True)
    ]
    by_work = {
        name: values if name == "dattri normal" else [value / WORKS for value in values]
        for name, values in seconds.items()
    }
    json.dump({"seconds": by_work, "works": WORKS, "size": SIZE, "side": SIDE}, sys.stdout)


if __name__ == "__main__":
    main()
