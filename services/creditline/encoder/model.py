"""The model that embeds pictures with their texts: a release's encoder with its towers.

The embedder serves it, and clients in private mode run it themselves.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from creditline.devices import PROCESSOR, Device, torch_device
from creditline.encoder.agreement import PromptAgreement
from creditline.encoder.encoder import Encoder, Side
from creditline.encoder.imputation import Imputation
from creditline.encoder.ood import OodDetector
from creditline.errors import FingerprintMismatch
from creditline.release import (
    ENCODER,
    IMPUTATION,
    OOD_DETECTOR,
    PROMPT_AGREEMENT,
    Release,
    open_release,
)
from creditline.settings import user_cache_directory
from creditline.towers.compiled.opening import OpenedTowers, compile_towers
from creditline.towers.spec import TowerSpec
from creditline.towers.towers import ImageInput, Towers


@dataclass(frozen=True)
class EmbedItem:
    """A picture with its text, to be embedded."""

    picture: Image.Image | ImageInput
    """The picture, RGB, or what the towers see of it (`EmbedderModel.prepared`)."""
    text: str
    """Prompt of a query, or caption of a work."""
    side: Side
    """Side of the encoder: query or work."""
    halves: bool = False
    """Whether a query's picture alone and prompt alone are encoded too."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """Result for one item."""

    vector: NDArray[np.float32]
    """(D,) float32, L2-normalised."""
    ood_score: float | None
    """Out-of-distribution score of a query's picture; None for a work, or without a detector."""
    prompt_agreement: float | None
    """Agreement of a query's picture with its prompt; None for a work, or if the release cannot tell."""
    tower_ms: float
    """Time of the item's batch in the towers, in milliseconds."""
    head_ms: float
    """Time of the item's batch in the encoder's head, in milliseconds."""
    picture_alone: NDArray[np.float32] | None = None
    """(D,) float32, vector of a query's picture alone; None: not asked for, or the release cannot tell."""
    prompt_alone: NDArray[np.float32] | None = None
    """(D,) float32, vector of a query's prompt alone; None: not asked for, or the release cannot tell."""


class EmbedderModel:
    """Towers and encoder of one release on one device.

    `forward` must not be called from several threads at the same time.

    Args:
        release: The release.
        towers: The frozen towers that the release was trained on.
        encoder: The release's encoder, on `device`.
        ood_detector: The release's out-of-distribution detector; None: scores are None.
        prompt_agreement: The release's agreement of pictures with prompts; None: agreements are None.
        imputation: The release's imputation of one half of a query from the other; None: no half alone is
            encoded.
        device: Device of towers and encoder.
        eager: Why a tower runs by eager torch, by tower.
    """

    def __init__(
        self,
        release: Release,
        towers: Towers,
        encoder: Encoder,
        ood_detector: OodDetector | None = None,
        prompt_agreement: PromptAgreement | None = None,
        imputation: Imputation | None = None,
        *,
        device: Device = PROCESSOR,
        eager: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.release = release
        self.device = device
        self.eager = eager
        self._ood_detector = ood_detector
        self._prompt_agreement = prompt_agreement
        self._imputation = imputation
        self._towers = towers
        self._encoder = encoder

    @classmethod
    def open(
        cls,
        release_directory: Path,
        spec: TowerSpec,
        device: Device = PROCESSOR,
        *,
        compiled: bool = True,
        cache: Path | None = None,
    ) -> EmbedderModel:
        """Load a release and its towers, and run them once to warm up.

        Args:
            release_directory: Directory of the release.
            spec: The towers.
            device: Device for towers and encoder.
            compiled: Whether the towers are compiled on a CPU; the first time, that takes a minute.
            cache: Directory of compiled towers; None: the user's.

        Raises:
            NotReady: The release or the towers are missing.
            FingerprintMismatch: The release was trained on other towers, or its files were changed.
        """
        release = open_release(release_directory)
        release.verify_files()
        towers = Towers.open(spec, device=device.name)
        if towers.fingerprint != release.towers_fingerprint:
            raise FingerprintMismatch(
                f"release {release.name!r} was trained on towers {release.towers_fingerprint[:16]}…, but"
                f" {spec.name!r} has {towers.fingerprint[:16]}…; name those of the release"
                " (CREDITLINE_EMBEDDER_TOWERS)",
                field="towers_fingerprint",
            )
        ood_detector = (
            OodDetector.load(release.directory / OOD_DETECTOR) if OOD_DETECTOR in release.files else None
        )
        fingerprint = release.files[ENCODER]
        prompt_agreement = (
            PromptAgreement.load(release.directory / PROMPT_AGREEMENT, encoder=fingerprint)
            if PROMPT_AGREEMENT in release.files
            else None
        )
        imputation = (
            Imputation.load(release.directory / IMPUTATION, encoder=fingerprint)
            if IMPUTATION in release.files
            else None
        )
        encoder = Encoder.load(release.directory / ENCODER).to(torch_device(device.name))
        opened = (
            compile_towers(
                towers, cache or user_cache_directory() / "towers", threads=torch.get_num_threads()
            )
            if compiled
            else OpenedTowers.by_torch(towers, "compiled towers are turned off")
        )
        model = cls(
            release,
            opened.towers,
            encoder,
            ood_detector,
            prompt_agreement,
            imputation,
            device=device,
            eager=opened.eager,
        )
        model.forward([EmbedItem(Image.new("RGB", (8, 8)), "", Side.QUERY)])
        return model

    def prepared(self, item: EmbedItem) -> EmbedItem:
        """The item with what the towers see of its picture: `forward` then need not resize it.

        It may be called from several threads at once.
        """
        if isinstance(item.picture, ImageInput):
            return item
        return replace(item, picture=self._towers.image_input(item.picture))

    def forward(self, items: Sequence[EmbedItem]) -> list[Embedded]:
        """Embed items of both sides in one batch; one result per item, in order."""
        started = time.perf_counter()
        features = self._towers.features([item.picture for item in items], [item.text for item in items])
        towers_done = time.perf_counter()
        vectors, halves = self._encoded(items, features)
        ood_scores = self._ood_scores(items, features)
        agreements = self._agreements(items, features)
        tower_ms = (towers_done - started) * 1e3
        head_ms = (time.perf_counter() - towers_done) * 1e3
        return [
            Embedded(vector, score, agreement, tower_ms, head_ms, *halves.get(row, (None, None)))
            for row, (vector, score, agreement) in enumerate(
                zip(vectors, ood_scores, agreements, strict=True)
            )
        ]

    def _encoded(
        self, items: Sequence[EmbedItem], features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]]:
        """Vectors of all items, (B, D), and of picture and prompt alone, by row of the queries that ask.

        The halves go through the head in the same batch, which costs little more than the vectors alone.
        """
        vectors = np.empty((len(items), self._encoder.shape.width), dtype=np.float32)
        halves: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        for side in Side:
            rows = [row for row, item in enumerate(items) if item.side is side]
            asked = [row for row in rows if side is Side.QUERY and items[row].halves]
            stacked = [features[rows]]
            if asked and self._imputation is not None:
                stacked += [
                    self._imputation.picture_alone(features[asked]),
                    self._imputation.prompt_alone(features[asked]),
                ]
            if rows:
                encoded = self._encoder.encode_features(np.concatenate(stacked), side)
                vectors[rows], alone = encoded[: len(rows)], encoded[len(rows) :]
                half = len(alone) // 2
                halves |= dict(zip(asked, zip(alone[:half], alone[half:], strict=True), strict=False))
        return vectors, halves

    def _ood_scores(self, items: Sequence[EmbedItem], features: NDArray[np.float32]) -> list[float | None]:
        if self._ood_detector is None:
            return [None] * len(items)
        image = features[:, self._towers.parts.slices()["image"]]
        return _of_queries(items, self._ood_detector.ood_score(image))

    def _agreements(self, items: Sequence[EmbedItem], features: NDArray[np.float32]) -> list[float | None]:
        if self._prompt_agreement is None or all(item.side is Side.WORK for item in items):
            return [None] * len(items)
        return _of_queries(items, self._prompt_agreement.agreement(features, features))


def _of_queries(items: Sequence[EmbedItem], values: NDArray[np.float64]) -> list[float | None]:
    """The values of queries, and None for works."""
    return [
        value if item.side is Side.QUERY else None for item, value in zip(items, values.tolist(), strict=True)
    ]
