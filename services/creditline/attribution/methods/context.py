"""What a method is made from: a generator, its works, and what several methods share."""

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

# (tower, gallery) -> features (N, D) float32; the towers are "image" and "text".
TowerFeatures = Callable[[str, Gallery], NDArray[np.float32]]


@dataclass
class MethodContext:
    """Inputs of the methods in the registry, and the gradient rows that they share.

    Works' gradients are computed once for each space, whichever methods ask for them.
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
    """Seed that each query's picture was sampled from, by query id (Journey-TRAK)."""
    seed_models: Mapping[str, Member] = field(default_factory=dict)
    """Models of the same works trained from other seeds, by name (D-TRAK's ensemble)."""
    checkpoints: Mapping[str, Member] = field(default_factory=dict)
    """Checkpoints of the generator's training with their learning rates, by name (TracIn)."""
    _rows: dict[GradientSpace, GradientRows] = field(default_factory=dict)

    def rows(self, space: GradientSpace) -> GradientRows:
        """The works' gradient rows in a space; whitened rows are computed from the plain rows of that space.

        Raises:
            FingerprintMismatch: The directory holds rows of another generator or of other works.
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
