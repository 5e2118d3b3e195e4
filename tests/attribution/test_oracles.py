"""Our kernels against the papers' libraries, by their stored results in `oracles/`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from torch import nn

from creditline.attribution.fisher.ekfac import EkfacFisher, fit_ekfac
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.methods.trak import trak_scores
from creditline.generator.pipeline import Generator
from tests.attribution.oracles import kronfluence_setting, traker_setting
from tests.random_galleries import random_gallery


def test_ekfac_influence_is_kronfluences_layer_by_layer(random_generator: Generator) -> None:
    layers = {
        name: module
        for name, module in chosen_layers(random_generator.unet, "all").items()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    expected = load_file(kronfluence_setting.ORACLE)
    assert expected.keys() == layers.keys()
    works, queries = (
        random_gallery(random_generator, kind, count).examples
        for kind, count in (("work", kronfluence_setting.WORKS), ("query", kronfluence_setting.QUERIES))
    )
    draw = kronfluence_setting.DRAW
    fisher = fit_ekfac(random_generator, works, draw, layers)
    for name, module in layers.items():
        one = EkfacFisher({name: fisher.layers[name]}, {name: fisher.has_bias[name]})
        left, right = (
            per_sample_gradients(random_generator, examples, draw, {name: module})
            for examples in (queries, works)
        )
        scores = one.natural(left) @ right.T
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(scores, expected[name], rtol=2e-2, atol=5e-3 * scale, msg=name)


@pytest.mark.parametrize("case", traker_setting.CASES, ids=str)
def test_trak_scores_are_trakers(case: traker_setting.Case) -> None:
    """traker's λ is absolute, ours relative to the works' mean squared length; its scores have one scale."""
    works, queries = case.gradients()
    expected = load_arrays(traker_setting.ORACLE)[str(case)]
    mean = float(np.square(works).sum(axis=1).mean())
    found = trak_scores(queries, works, case.regularisation / mean)
    np.testing.assert_allclose(
        found / np.abs(found).mean(), expected / np.abs(expected).mean(), rtol=1e-3, atol=1e-4
    )
