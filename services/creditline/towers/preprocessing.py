"""Preprocessing of pictures for an image tower: resized pixels, then normalisation inside the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import Normalize, ToTensor

from creditline.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The evaluation transform of open_clip or timm, split where the picture becomes a tensor."""

    resizing: tuple[Callable[[Any], Any], ...]
    """The steps from picture to picture: resizing and cropping."""
    mean: Tensor
    """(3,) float32, mean of each channel, of values in 0 … 1."""
    std: Tensor
    """(3,) float32, standard deviation of each channel."""

    @classmethod
    def of(cls, transform: Any) -> Preprocessing:
        """Split a transform whose last two steps are the conversion to a tensor and the normalisation.

        Args:
            transform: A `torchvision.transforms.Compose`.

        Raises:
            InvalidInput: The transform has another form.
        """
        *resizing, conversion, normalisation = transform.transforms
        if not isinstance(conversion, ToTensor) or not isinstance(normalisation, Normalize):
            raise InvalidInput(
                f"the tower's preprocessing ends with {conversion} and {normalisation}, not with ToTensor and"
                " Normalize; name a tower with ordinary preprocessing",
                field="towers",
            )
        mean, std = (
            torch.as_tensor(values, dtype=torch.float32) for values in (normalisation.mean, normalisation.std)
        )
        return cls(tuple(resizing), mean, std)

    def pixels(self, pictures: Sequence[Image.Image]) -> NDArray[np.uint8]:
        """The tower's input before normalisation: (B, H, W, 3) uint8."""
        return np.stack([np.asarray(self._resized(picture), dtype=np.uint8) for picture in pictures])

    def _resized(self, picture: Image.Image) -> Image.Image:
        resized = picture if picture.mode == "RGB" else picture.convert("RGB")
        for step in self.resizing:
            resized = step(resized)
        return resized


class Normalisation(nn.Module):
    """The arithmetic of torchvision's ToTensor and Normalize, on a batch.

    (B, H, W, 3) uint8 -> (B, 3, H, W) float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.reshape(3, 1, 1))
        self.register_buffer("std", std.reshape(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Scale to 0 … 1, subtract the mean and divide by the standard deviation."""
        values = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255
        return (values - self.mean) / self.std
