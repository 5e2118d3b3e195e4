"""Attention of a UNet in place of that of diffusers: the layer is written once, its mixing by subclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor


class AttentionProcessor(ABC):
    """An attention layer but for the mixing of values (a processor for diffusers' `set_attn_processor`)."""

    def __call__(
        self,
        attention: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **_unused: object,
    ) -> Tensor:
        """Apply the attention layer.

        Args:
            attention: The diffusers `Attention` module.
            hidden_states: (B, P, C).
            encoder_hidden_states: (B, L, D) for cross-attention; None for self-attention.

        Returns:
            (B, P, C).
        """
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        projected = (attention.to_q(hidden_states), attention.to_k(context), attention.to_v(context))
        query, key, value = (part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in projected)
        project, dropout = attention.to_out
        output: Tensor = dropout(project(self.mixed(query, key, value).transpose(1, 2).flatten(2)))
        return output

    @abstractmethod
    def mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Means of the values by the softmax of the scaled products of query and keys.

        Args:
            query: (B, heads, P, C / heads).
            key: (B, heads, L, C / heads).
            value: (B, heads, L, C / heads).

        Returns:
            (B, heads, P, C / heads).
        """
