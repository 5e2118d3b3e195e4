"""Features of a gallery by one tower, for attribution methods that compare features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.device_setting import CPU
from creditline.towers.spec import EMBEDDED, TowerSpec
from creditline.towers.towers import Towers


class PicturesWithPrompts(Protocol):
    """Pictures and their prompts, in the same order."""

    @property
    def pictures(self) -> Sequence[Image.Image]:
        """The N pictures."""
        ...

    @property
    def prompts(self) -> Sequence[str]:
        """The N prompts."""
        ...


class GalleryFeatures:
    """Features by the image or the text tower; the towers are opened when they are first needed.

    Args:
        device: The device that the towers run on.
        spec: The towers to open; None opens the embedded ones.
    """

    def __init__(self, device: str = CPU, spec: TowerSpec | None = None) -> None:
        self._device = device
        self._spec = spec

    @cached_property
    def towers(self) -> Towers:
        """The open towers."""
        return Towers.open(self._spec or EMBEDDED, device=self._device)

    def __call__(self, tower: str, gallery: PicturesWithPrompts) -> NDArray[np.float32]:
        """Features of a gallery by one tower.

        Args:
            tower: "image" for features of the pictures, "text" for features of the prompts.
            gallery: N pictures with prompts.

        Returns:
            (N, D) float32.
        """
        if tower == "image":
            return self.towers.image_features(gallery.pictures).cpu().numpy()
        return self.towers.text_features(gallery.prompts).cpu().numpy()
