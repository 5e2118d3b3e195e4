"""The two networks of a pair of towers, from plain arrays to features, as modules that can be exported."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from creditline.towers.preprocessing import Normalisation, Preprocessing


class ImageNetwork(nn.Module):
    """An image tower with its normalisation: (B, H, W, 3) uint8 -> (B, D) float32."""

    def __init__(self, tower: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.normalisation = Normalisation(preprocessing.mean, preprocessing.std)
        self.tower = tower

    def forward(self, pixels: Tensor) -> Tensor:
        """Unnormalised features."""
        features: Tensor = self.tower(self.normalisation(pixels))
        return features.float()


class TextNetwork(nn.Module):
    """A model's text tower, with the attention mask that it makes: (B, L) int64 -> (B, D) float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Unnormalised features."""
        encode: Any = self.model.encode_text
        features: Tensor = encode(tokens)
        return features.float()
