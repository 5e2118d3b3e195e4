"""Inputs of the registered methods: a generator, its works, and the artifacts that methods share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Gallery
from creditline.attribution.ensembles.models import Member
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace
from creditline.generator.pipeline import Generator

# (name of the tower, gallery) -> features (N, D) float32; the towers are "image" and "text".
TowerFeatures = Callable[[str, Gallery], NDArray[np.float32]]


@dataclass
class MethodContext:
    """Inputs of the methods in the registry, and the gradient rows that they share.

    The works' gradients are computed once per space and shared by all methods that use the space.
    """

    generator: Generator
    """The generator whose pictures are attributed."""
    works: Gallery
    """The works that the generator was trained on."""
    directory: Path
    """Directory of the stored gradients."""
    features: TowerFeatures
    """Features of a gallery by one of the frozen towers."""
    seeds: Mapping[str, int] = field(default_factory=dict)
    """Sampling seed of each query's picture, by query id (Journey-TRAK)."""
    seed_models: Mapping[str, Member] = field(default_factory=dict)
    """Models of the same works trained from other seeds, by name (D-TRAK's ensemble)."""
    checkpoints: Mapping[str, Member] = field(default_factory=dict)
    """Checkpoints of the generator's training with their learning rates, by name (TracIn)."""
    _rows: dict[GradientSpace, GradientRows] = field(default_factory=dict)

    def rows(self, space: GradientSpace) -> GradientRows:
        """Gradient rows of the works in a space, computed at the first call.

        Args:
            space: The space. When its whitening is fitted to rows, its rows are computed from the plain rows
                of the same space.

        Raises:
            FingerprintMismatch: The directory holds rows of another generator or of other works.
            InvalidInput: A stored file is truncated.
        """
        if space not in self._rows:
            plain = None
            if space.whitening is not None and space.whitening.fitted == "rows":
                plain = self.rows(replace(space, whitening=None, compressed=0))
            rows = GradientRows(self.generator, space, plain)
            name = hashlib.sha256(repr(space).encode()).hexdigest()[:12]
            rows.prepare(self.works, self.directory / f"space-{name}")
            self._rows[space] = rows
        return self._rows[space]
