"""Towers: frozen pretrained models that give features of pictures and texts, through open_clip.

Joined features are the image tower's, then the picture's layout, then the text tower's.

`Towers.open(EMBEDDED)` loads the towers that come with the package; any other open_clip model is specified by
its name and a local checkpoint, or by a local directory with `open_clip_config.json`. The image tower may be
one of timm's, such as DINOv2. Nothing is downloaded.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.hf_model import HFTextEncoder
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from creditline.device_setting import CPU
from creditline.devices import device_of, torch_device
from creditline.errors import InvalidInput, NotReady
from creditline.towers.embedded import (
    EMBEDDED_NAME,
    PREPROCESSING,
    artifact_digests,
    file_digest,
    load_image_weights,
    register_configuration,
)
from creditline.towers.layout import LAYOUT_WIDTH, layout_features
from creditline.towers.like_lengths import batches_of_like_length
from creditline.towers.networks import ImageNetwork, TextNetwork
from creditline.towers.parts import Parts
from creditline.towers.preprocessing import Preprocessing
from creditline.towers.runners import EagerRunner, Runners
from creditline.towers.spec import EMBEDDED, TowerSpec
from creditline.towers.timm_tower import TimmTower
from creditline.towers.tokens import token_ids

ForwardPass = Callable[[], Tensor]
_LOCAL_DIRECTORY = "local-dir:"
_CHECKPOINT_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TOKENIZER_PROBE = "A red ladybug; 3 × 4 = zwölf?"
_TEXTS_PER_FORWARD = 16
# Number of texts that are tokenised together and sorted by length.
_TEXTS_SORTED = 1024


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Texts of like length."""

    rows: list[int]
    """Index of each text in the order of the call."""
    tokens: NDArray[np.int64]
    """(B, L) int64, padded to the longest."""


@dataclass(frozen=True, eq=False)
class ImageInput:
    """What towers see of a picture."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) uint8, the image tower's input before normalisation."""
    layout: NDArray[np.float32]
    """(parts.layout,) float32."""


class Towers:
    """An image tower and a text tower; the features of an item do not depend on its batch.

    Attributes:
        model: The open_clip model, frozen and in evaluation mode.
        preprocessing: Preprocessing of pictures.
        image_network: The image tower, from pixels to features.
        text_network: The text tower, from token ids to features.
        fingerprint: SHA-256 of all that the features depend on: 64 hex digits.
        parts: Dimensions of the parts of the joined features.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        preprocessing: PreprocessCfg,
        fingerprint: str,
        *,
        image: TimmTower | None = None,
        layout: bool = True,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.fingerprint = fingerprint
        self._layout = layout
        self._tokenizer = tokenizer
        self.preprocessing = (
            image.preprocessing
            if image
            else Preprocessing.of(image_transform_v2(preprocessing, is_train=False))
        )
        tower = image.model if image else model.get_submodule("visual")
        self.image_network = ImageNetwork(tower, self.preprocessing).to(self.device).eval()
        self.text_network = TextNetwork(model).eval()
        self._runners = Runners(
            EagerRunner(self.image_network, self.device), EagerRunner(self.text_network, self.device)
        )
        self.parts = Parts(
            image=self.image_features([Image.new("RGB", (8, 8))]).shape[1],
            layout=LAYOUT_WIDTH if layout else 0,
            text=self.text_features([""]).shape[1],
        )

    @classmethod
    def open(cls, spec: TowerSpec = EMBEDDED, *, device: str = CPU) -> Towers:
        """Load towers on a device.

        Raises:
            NotReady: A file of the towers is not on this machine.
            InvalidInput: A model is unknown, or its weights do not fit it.
            FingerprintMismatch: A weight file of the embedded towers has changed.
        """
        return _open_embedded(spec, device) if spec.name == EMBEDDED_NAME else _open_local(spec, device)

    @property
    def device(self) -> torch.device:
        """The device that both towers run on."""
        return device_of(self.model)

    @property
    def pixels_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the image network's input."""
        height, width, channels = self.preprocessing.pixels([Image.new("RGB", (8, 8))]).shape[1:]
        return height, width, channels

    @property
    def masks_padding(self) -> bool:
        """Whether the text tower masks padding, so that its input may be shorter than its context."""
        return isinstance(getattr(self.model, "text", None), HFTextEncoder)

    def run_by(self, runners: Runners) -> Towers:
        """The same towers, with their networks run in another way."""
        other = copy.copy(self)
        other._runners = runners
        return other

    def pixels(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Preprocessed pictures: (B, 3, side, side) float32, on the towers' device."""
        resized = torch.from_numpy(self.preprocessing.pixels(pictures)).to(self.device)
        normalised: Tensor = self.image_network.normalisation(resized)
        return normalised

    def tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Token ids: (B, L) int64; padding of all rows is dropped if the tower masks it."""
        tokens = token_ids(self._tokenizer, texts, whole_context=not self.masks_padding)
        return tokens[:, : int(self._lengths(tokens).max())]

    def _lengths(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Leading columns of each row that the text tower needs: (B, L) int64 -> (B,) int64."""
        columns = tokens.shape[1]
        if not self.masks_padding:
            return np.full(len(tokens), columns)
        text: Any = self.model.text
        used = tokens != text.config.pad_token_id
        lengths: NDArray[np.int64] = columns - used[:, ::-1].argmax(axis=1)
        return lengths

    def image_input(self, picture: Image.Image) -> ImageInput:
        """What the towers see of a picture; it can be taken in another thread, before `features`."""
        layout = layout_features([picture])[0].numpy() if self._layout else np.empty(0, dtype=np.float32)
        return ImageInput(self.preprocessing.pixels([picture])[0], layout)

    def image_features(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Unnormalised features of pictures: (B, parts.image) float32, on the towers' device."""
        return torch.cat(self._runners.run(self._image_passes(pictures)))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Unnormalised features of texts: (B, parts.text) float32, on the towers' device."""
        batches = list(self._text_batches(texts))
        passes = (partial(self._runners.text, batch.tokens) for batch in batches)
        return _in_order(batches, self._runners.run(passes))

    def _image_passes(self, pictures: Sequence[Image.Image | ImageInput]) -> Iterator[ForwardPass]:
        for start in range(0, len(pictures), self._runners.pictures):
            yield partial(self._image_pass, pictures[start : start + self._runners.pictures])

    def _image_pass(self, pictures: Sequence[Image.Image | ImageInput]) -> Tensor:
        pixels = [
            picture.pixels if isinstance(picture, ImageInput) else self.preprocessing.pixels([picture])[0]
            for picture in pictures
        ]
        return self._runners.image(np.stack(pixels))

    def _text_batches(self, texts: Sequence[str]) -> Iterator[TextBatch]:
        for start in range(0, len(texts), _TEXTS_SORTED):
            tokens = self.tokens(texts[start : start + _TEXTS_SORTED])
            lengths = self._lengths(tokens)
            for rows in batches_of_like_length(lengths.tolist(), _TEXTS_PER_FORWARD):
                needed = np.ascontiguousarray(tokens[rows, : int(lengths[rows].max())])
                yield TextBatch([start + row for row in rows], needed)

    def features(
        self, pictures: Sequence[Image.Image | ImageInput], texts: Sequence[str]
    ) -> NDArray[np.float32]:
        """Joined features of pictures with their texts.

        Args:
            pictures: B pictures, or what `image_input` gave of them.
            texts: Prompt or caption of each picture.

        Returns:
            (B, parts.width) float32, on the CPU; each part L2-normalised (a white picture's layout is zero).

        Raises:
            InvalidInput: The numbers of pictures and of texts differ.
        """
        if len(pictures) != len(texts):
            raise InvalidInput(
                f"each picture needs a text; got {len(pictures)} pictures and {len(texts)} texts",
                field="texts",
            )
        image, text = self._both_features(pictures, texts)
        parts = (image, self._layouts(pictures).to(self.device), text)
        joined: NDArray[np.float32] = (
            torch.cat([nn.functional.normalize(part, dim=-1) for part in parts], dim=1).cpu().numpy()
        )
        return joined

    def _layouts(self, pictures: Sequence[Image.Image | ImageInput]) -> Tensor:
        """Layouts of pictures: (B, parts.layout) float32."""
        if not self._layout:
            return torch.empty(len(pictures), 0)
        return torch.stack(
            [
                torch.from_numpy(picture.layout)
                if isinstance(picture, ImageInput)
                else layout_features([picture])[0]
                for picture in pictures
            ]
        )

    def _both_features(
        self, pictures: Sequence[Image.Image | ImageInput], texts: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Features by both towers, whose passes share the runners' threads.

        Texts are tokenised while the first passes over pictures run. Their own passes come next: they take
        longer than those over the other pictures, which then fill all threads to the end.
        """
        image_passes = list(self._image_passes(pictures))
        first = min(self._runners.threads, len(image_passes))
        batches: list[TextBatch] = []

        def text_passes() -> Iterator[ForwardPass]:
            for batch in self._text_batches(texts):
                batches.append(batch)
                yield partial(self._runners.text, batch.tokens)

        results = self._runners.run(chain(image_passes[:first], text_passes(), image_passes[first:]))
        after = first + len(batches)
        of_images, of_texts = results[:first] + results[after:], results[first:after]
        return torch.cat(of_images), _in_order(batches, of_texts)


def _in_order(batches: Sequence[TextBatch], features: Sequence[Tensor]) -> Tensor:
    """Features of batches as rows in the order of the texts."""
    order = torch.tensor([row for batch in batches for row in batch.rows])
    joined = torch.cat(list(features))
    return joined[order.argsort().to(joined.device)]


def _open_embedded(spec: TowerSpec, device: str) -> Towers:
    digests = artifact_digests()
    name = register_configuration()
    with _quiet_loading():
        model = open_clip.create_model(name, pretrained=None, pretrained_text=True)
        tokenizer = open_clip.get_tokenizer(name)
    load_image_weights(model)
    preprocessing = PreprocessCfg(**PREPROCESSING)
    return _assemble(spec, model, tokenizer, preprocessing, digests, device)


def _open_local(spec: TowerSpec, device: str) -> Towers:
    checkpoint = _local_checkpoint(spec)
    name = spec.name if spec.checkpoint else f"{_LOCAL_DIRECTORY}{spec.name}"
    with _quiet_loading():
        model = open_clip.create_model(
            name,
            pretrained=str(spec.checkpoint) if spec.checkpoint else None,
            pretrained_text=False,
            require_pretrained=True,
        )
        tokenizer = open_clip.get_tokenizer(name)
    preprocessing = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
    probe = hashlib.sha256(tokenizer([_TOKENIZER_PROBE]).numpy().tobytes()).hexdigest()
    digests = {"checkpoint": file_digest(checkpoint), "tokenizer": probe}
    return _assemble(spec, model, tokenizer, preprocessing, digests, device)


def _assemble(
    spec: TowerSpec,
    model: nn.Module,
    tokenizer: Any,
    preprocessing: PreprocessCfg,
    digests: Mapping[str, str],
    device: str,
) -> Towers:
    """Place the model on the device, with timm's image tower where the spec names one."""
    image = TimmTower.open(spec.image, device=device) if spec.image else None
    files = {**digests, **(image.digests if image else {})}
    fingerprint = _fingerprint(files, preprocessing, LAYOUT_WIDTH if spec.layout else 0)
    placed = model.to(torch_device(device))
    return Towers(placed, tokenizer, preprocessing, fingerprint, image=image, layout=spec.layout)


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Silence progress bars, and the warnings that BERT's pooling layer is left out."""
    progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        if progress_bar:
            transformers_logging.enable_progress_bar()


def _local_checkpoint(spec: TowerSpec) -> Path:
    """The file of the weights; refused where open_clip would have to download something."""
    if spec.checkpoint is not None:
        if spec.name not in open_clip.list_models():
            raise InvalidInput(
                f"open_clip has no model {spec.name!r}; open_clip.list_models() lists its models",
                field="towers",
            )
        if not spec.checkpoint.is_file():
            raise NotReady(
                f"there is no checkpoint at {spec.checkpoint}; copy it there, as towers are never downloaded",
                field="towers",
            )
        return spec.checkpoint
    directory = Path(spec.name)
    checkpoints = [path for path in (directory / name for name in _CHECKPOINT_NAMES) if path.is_file()]
    if not (directory / "open_clip_config.json").is_file() or not checkpoints:
        raise NotReady(
            f"{directory} must hold open_clip_config.json and one of {', '.join(_CHECKPOINT_NAMES)}; copy"
            " them there, as towers are never downloaded",
            field="towers",
        )
    return checkpoints[0]


def _fingerprint(digests: Mapping[str, str], preprocessing: PreprocessCfg, layout: int) -> str:
    """SHA-256 of the towers' files, the preprocessing and the layout's dimension: 64 hex digits."""
    content = json.dumps(
        {"files": dict(digests), "preprocessing": asdict(preprocessing), "layout": layout},
        sort_keys=True,
    )
    return hashlib.sha256(content.encode()).hexdigest()
