"""What the embedder loads once: a release's encoder and the towers that it was trained on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.devices import PROCESSOR, Device, torch_device
from creditline.encoder.encoder import Encoder, Side
from creditline.encoder.ood import OodDetector
from creditline.errors import FingerprintMismatch
from creditline.release import ENCODER, OOD_DETECTOR, Release, open_release
from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers


@dataclass(frozen=True)
class EmbedItem:
    """A picture (RGB) with its text, and which side it is encoded for."""

    picture: Image.Image
    text: str
    side: Side


@dataclass(frozen=True, eq=False)
class Embedded:
    """vector: (width,) float32 of length 1.

    unfamiliarity: of a query's picture, None for a work or where the release cannot say. Milliseconds that
    its batch took in the towers and in the head.
    """

    vector: NDArray[np.float32]
    ood_score: float | None
    tower_ms: float
    head_ms: float


class EmbedderModel:
    """Towers and encoder of one release on one device; `forward` is for one thread at a time."""

    def __init__(
        self,
        release: Release,
        towers: Towers,
        encoder: Encoder,
        ood_detector: OodDetector | None = None,
        *,
        device: Device = PROCESSOR,
    ) -> None:
        self.release = release
        self.device = device
        self._familiar = ood_detector
        self._towers = towers
        self._encoder = encoder

    @classmethod
    def open(cls, release_directory: Path, spec: TowerSpec, device: Device = PROCESSOR) -> EmbedderModel:
        """Load a release and its towers, and run them once, so that the first caller need not wait.

        device: where they run. Raises NotReady, and FingerprintMismatch when the
        release was trained on other towers or was changed.
        """
        release = open_release(release_directory)
        release.verify_files()
        towers = Towers.open(spec, device=device.name)
        if towers.fingerprint != release.towers_fingerprint:
            raise FingerprintMismatch(
                f"release {release.name!r} was trained on towers {release.towers_fingerprint[:16]}…, but"
                f" {spec.name!r} has {towers.fingerprint[:16]}…; set CREDITLINE_EMBEDDER_TOWERS to"
                " those of the release",
                field="towers_fingerprint",
            )
        ood_detector = (
            OodDetector.load(release.directory / OOD_DETECTOR) if OOD_DETECTOR in release.files else None
        )
        encoder = Encoder.load(release.directory / ENCODER).to(torch_device(device.name))
        model = cls(release, towers, encoder, ood_detector, device=device)
        model.forward([EmbedItem(Image.new("RGB", (8, 8)), "", Side.QUERY)])
        return model

    def forward(self, items: Sequence[EmbedItem]) -> list[Embedded]:
        """Encode items of either side together."""
        started = time.perf_counter()
        features = self._towers.features([item.picture for item in items], [item.text for item in items])
        towers_done = time.perf_counter()
        vectors = np.empty((len(items), self._encoder.shape.width), dtype=np.float32)
        for side in Side:
            rows = [row for row, item in enumerate(items) if item.side is side]
            if rows:
                vectors[rows] = self._encoder.encode_features(features[rows], side)
        unfamiliar = self._unfamiliarity(items, features)
        tower_ms = (towers_done - started) * 1e3
        head_ms = (time.perf_counter() - towers_done) * 1e3
        return [
            Embedded(vector, far, tower_ms, head_ms) for vector, far in zip(vectors, unfamiliar, strict=True)
        ]

    def _unfamiliarity(self, items: Sequence[EmbedItem], features: NDArray[np.float32]) -> list[float | None]:
        if self._familiar is None:
            return [None] * len(items)
        image = features[:, self._towers.parts.slices()["image"]]
        pairs = zip(items, self._familiar.ood_score(image).tolist(), strict=True)
        return [far if item.side is Side.QUERY else None for item, far in pairs]
