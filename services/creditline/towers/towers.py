"""Towers: frozen pretrained models that give features of a picture and of a text, through open_clip.

Joined features hold the picture's layout between the two.

`Towers.open(EMBEDDED)` loads the pair that comes with the package; any other open_clip model is a name with a
local checkpoint, or a local directory with `open_clip_config.json`. The image tower may be one of timm's,
such as DINOv2. Nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

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
from creditline.towers.parts import Parts
from creditline.towers.spec import EMBEDDED, TowerSpec
from creditline.towers.timm_tower import TimmTower

T = TypeVar("T")
_LOCAL_DIRECTORY = "local-dir:"
_CHECKPOINT_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TOKENIZER_PROBE = "A red ladybug; 3 × 4 = zwölf?"
_ITEMS_PER_FORWARD = 16


class Towers:
    """An image tower and a text tower, loaded once; `features` is the same in any batch."""

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
        self._image = image
        self._layout = layout
        self._tokenizer = tokenizer
        self._transform = image_transform_v2(preprocessing, is_train=False)
        self.parts = Parts(
            image=self.image_features([Image.new("RGB", (8, 8))]).shape[1],
            layout=LAYOUT_WIDTH if layout else 0,
            text=self.text_features([""]).shape[1],
        )

    @classmethod
    def open(cls, spec: TowerSpec = EMBEDDED, *, device: str = CPU) -> Towers:
        """Load the towers that `spec` names on a device.

        Raises NotReady when their files are not on this machine.
        """
        return _open_embedded(spec, device) if spec.name == EMBEDDED_NAME else _open_local(spec, device)

    @property
    def device(self) -> torch.device:
        """Where both towers run."""
        return device_of(self.model)

    def pixels(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Pictures as the image tower takes them, on its device: (B, 3, side, side) float32."""
        stacked = torch.stack([self._transform(picture.convert("RGB")) for picture in pictures])
        return stacked.to(self.device)

    @torch.inference_mode()
    def image_features(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(B, parts.image) float32, as the tower gives them, on its device."""
        if self._image is not None:
            return torch.cat([self._image.features(part) for part in _parts(pictures)])
        encode = self.model.get_submodule("visual")
        return torch.cat([encode(self.pixels(part)) for part in _parts(pictures)]).float()

    @torch.inference_mode()
    def text_features(self, texts: Sequence[str]) -> Tensor:
        """(B, parts.text) float32, as the tower gives them, on its device."""
        encode: Any = self.model.encode_text
        return torch.cat([encode(self._tokens(part).to(self.device)) for part in _parts(texts)]).float()

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """(B, L) int64, on the processor. A tower that masks its padding need not be fed all of it."""
        tokens: Tensor = self._tokenizer(list(texts))
        text = getattr(self.model, "text", None)
        if not isinstance(text, HFTextEncoder):
            return tokens
        used = (tokens != text.config.pad_token_id).any(dim=0).nonzero()
        return tokens[:, : int(used.max()) + 1]

    def features(self, pictures: Sequence[Image.Image], texts: Sequence[str]) -> NDArray[np.float32]:
        """All parts, each of length 1 (a white picture's layout: 0), joined: (B, parts.width) float32."""
        if len(pictures) != len(texts):
            raise InvalidInput(
                f"each picture needs a text; got {len(pictures)} and {len(texts)}", field="texts"
            )
        layouts = layout_features(pictures) if self._layout else torch.empty(len(pictures), 0)
        parts = (self.image_features(pictures), layouts.to(self.device), self.text_features(texts))
        joined: NDArray[np.float32] = (
            torch.cat([nn.functional.normalize(part, dim=-1) for part in parts], dim=1).cpu().numpy()
        )
        return joined


def _open_embedded(spec: TowerSpec, device: str) -> Towers:
    digests = artifact_digests()
    name = register_configuration()
    with _quiet_loading():
        model = open_clip.create_model(name, pretrained=None, pretrained_text=True)
        tokenizer = open_clip.get_tokenizer(name)
    load_image_weights(model)
    preprocessing = PreprocessCfg(**PREPROCESSING)
    return _assembled(spec, model, tokenizer, preprocessing, digests, device)


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
    return _assembled(spec, model, tokenizer, preprocessing, digests, device)


def _assembled(
    spec: TowerSpec,
    model: nn.Module,
    tokenizer: Any,
    preprocessing: PreprocessCfg,
    digests: Mapping[str, str],
    device: str,
) -> Towers:
    """With timm's image tower, where the spec names one."""
    image = TimmTower.open(spec.image, device=device) if spec.image else None
    files = {**digests, **(image.digests if image else {})}
    fingerprint = _fingerprint(files, preprocessing, LAYOUT_WIDTH if spec.layout else 0)
    placed = model.to(torch_device(device))
    return Towers(placed, tokenizer, preprocessing, fingerprint, image=image, layout=spec.layout)


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Without the libraries' progress bar, and their notes that a pooling layer of BERT is left out."""
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
    """The file that the weights are in. Raises NotReady, InvalidInput: nothing may be left for a download."""
    if spec.checkpoint is not None:
        if spec.name not in open_clip.list_models():
            raise InvalidInput(
                f"open_clip knows no model {spec.name!r}; see open_clip.list_models()", field="towers"
            )
        if not spec.checkpoint.is_file():
            raise NotReady(f"no checkpoint at {spec.checkpoint}; towers are never downloaded", field="towers")
        return spec.checkpoint
    directory = Path(spec.name)
    found = [path for path in (directory / name for name in _CHECKPOINT_NAMES) if path.is_file()]
    if not (directory / "open_clip_config.json").is_file() or not found:
        raise NotReady(
            f"{directory} needs open_clip_config.json and one of {', '.join(_CHECKPOINT_NAMES)}; towers are"
            " never downloaded",
            field="towers",
        )
    return found[0]


def _fingerprint(digests: Mapping[str, str], preprocessing: PreprocessCfg, layout: int) -> str:
    """SHA-256 over the towers' files, the preprocessing and the layout's width: 64 hex digits."""
    content = json.dumps(
        {"files": dict(digests), "preprocessing": asdict(preprocessing), "layout": layout},
        sort_keys=True,
    )
    return hashlib.sha256(content.encode()).hexdigest()


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _ITEMS_PER_FORWARD):
        yield items[start : start + _ITEMS_PER_FORWARD]
