"""Features of a gallery by one tower, for methods that compare features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers


class PicturesWithPrompts(Protocol):
    """Pictures and their texts, row by row."""

    @property
    def pictures(self) -> Sequence[Image.Image]: ...

    @property
    def prompts(self) -> Sequence[str]: ...


class GalleryFeatures:
    """Features by the image or the text tower; the towers are opened when they are first needed.

    Args:
        spec: The towers to open; None opens the embedded ones.
    """

    def __init__(self, spec: TowerSpec | None = None) -> None:
        self._spec = spec

    @cached_property
    def _towers(self) -> Towers:
        return Towers.open(self._spec) if self._spec is not None else Towers.open()

    def __call__(self, tower: str, gallery: PicturesWithPrompts) -> NDArray[np.float32]:
        """Features (N, D) float32 of the gallery's pictures ("image") or prompts ("text")."""
        if tower == "image":
            return self._towers.image_features(gallery.pictures).numpy()
        return self._towers.text_features(gallery.prompts).numpy()
