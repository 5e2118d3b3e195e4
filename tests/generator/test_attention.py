"""Attention that is written out here: of its own precision, and with a second derivative; the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from creditline.evaluation.lab.exact.flat_unet import ExplicitAttention
from creditline.generator.denoiser import FullPrecisionAttention, build_unet

_Mixing = Callable[[Tensor, Tensor, Tensor], Tensor]


def _layers(dtype: torch.dtype) -> tuple[Any, Any]:
    """A layer of self-attention and one of cross-attention, with random weights."""
    torch.manual_seed(3)
    block = build_unet(channels=(16, 16), norm_groups=4).to(dtype).down_blocks[0].attentions[0]
    return block.transformer_blocks[0].attn1, block.transformer_blocks[0].attn2


def _oracle(mix: _Mixing, layer: Any, states: Tensor, text: Tensor | None) -> Tensor:
    """Projections, the mixing of all heads, and the projection of its result."""
    context = states if text is None else text
    heads = [
        layer_part(of).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for layer_part, of in ((layer.to_q, states), (layer.to_k, context), (layer.to_v, context))
    ]
    return layer.to_out[1](layer.to_out[0](mix(*heads).transpose(1, 2).flatten(2)))


def _softmax(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5, dim=-1) @ value


def _fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return torch.nn.functional.scaled_dot_product_attention(query.float(), key.float(), value.float())


@pytest.mark.parametrize(
    ("attention", "mix", "dtype", "is_autocast"),
    [
        (ExplicitAttention(), _softmax, torch.float64, False),
        (ExplicitAttention(), _softmax, torch.float32, False),
        (FullPrecisionAttention(), _fused, torch.float32, False),
        (FullPrecisionAttention(), _fused, torch.float32, True),
    ],
    ids=["explicit, float64", "explicit, float32", "full", "full, under autocast"],
)
@pytest.mark.parametrize("kind", ["self", "cross"])
def test_values_and_gradients_have_the_bits_of_the_written_out_layer(
    attention: Any, mix: _Mixing, dtype: torch.dtype, is_autocast: bool, kind: str
) -> None:
    layer = _layers(dtype)[kind == "cross"]
    random = torch.Generator().manual_seed(0)
    states = torch.randn((2, 64, 16), generator=random, dtype=dtype)
    text = torch.randn((2, 24, 384), generator=random, dtype=dtype) if kind == "cross" else None
    outcomes = []
    for compute in (
        lambda given: attention(layer, given, text),
        lambda given: _oracle(mix, layer, given, text),
    ):
        given = states.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_autocast):
            output = compute(given)
        outcomes.append(
            (output, *torch.autograd.grad(output.float().square().sum(), [given, layer.to_q.weight]))
        )
    for found, wanted in zip(*outcomes, strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
    assert outcomes[0][0].dtype == (torch.bfloat16 if is_autocast else dtype)


def test_explicit_attention_has_a_second_derivative() -> None:
    layer, _ = _layers(torch.float64)
    states = torch.randn((1, 8, 16), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(
        ExplicitAttention()(layer, states).square().sum(), states, create_graph=True
    )
    (bend,) = torch.autograd.grad(slope.square().sum(), states)
    assert float(bend.abs().max()) > 0.0
