"""An image tower of timm, such as DINOv2, from a local checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

from creditline.device_setting import CPU
from creditline.devices import torch_device
from creditline.errors import InvalidInput, NotReady
from creditline.towers.embedded import file_digest
from creditline.towers.preprocessing import Preprocessing
from creditline.towers.spec import TimmSpec


@dataclass(frozen=True, eq=False)
class TimmTower:
    """A frozen timm model with its preprocessing.

    Its output is timm's pooled features before the classifier.
    """

    model: nn.Module
    """The model, without classifier, in evaluation mode."""
    preprocessing: Preprocessing
    """timm's preprocessing of pictures."""
    digests: dict[str, str]
    """What the features depend on (weights, model name, preprocessing), by name."""

    @classmethod
    def open(cls, spec: TimmSpec, *, device: str = CPU) -> TimmTower:
        """Load the tower on a device.

        Raises:
            NotReady: The checkpoint does not exist.
            InvalidInput: timm has no such model, or the weights do not fit it.
        """
        if not timm.is_model(spec.name.partition(".")[0]):
            raise InvalidInput(
                f"timm has no model {spec.name!r}; timm.list_models() lists its models", field="towers"
            )
        if not spec.checkpoint.is_file():
            raise NotReady(
                f"there is no checkpoint at {spec.checkpoint}; copy it there, as towers are never downloaded",
                field="towers",
            )
        sized: dict[str, Any] = {} if spec.side is None else {"img_size": spec.side}
        try:
            # Loaded as timm's own files are: parameters renamed, position embeddings interpolated.
            model = timm.create_model(
                spec.name,
                pretrained=True,
                pretrained_cfg_overlay={"file": str(spec.checkpoint)},
                num_classes=0,
                **sized,
            )
        except (RuntimeError, ValueError, KeyError, OSError, TypeError) as error:
            reason = str(error).splitlines()[0][:200]
            raise InvalidInput(
                f"{spec.checkpoint} does not fit timm's {spec.name} ({reason}); name the model that the"
                " weights belong to",
                field="towers",
            ) from error
        settings: dict[str, Any] = resolve_data_config({}, model=model)
        if spec.side is not None:
            settings["input_size"] = (3, spec.side, spec.side)
        digests = {
            "image checkpoint": file_digest(spec.checkpoint),
            "image model": spec.name,
            "image preprocessing": repr(sorted(settings.items())),
        }
        preprocessing = Preprocessing.of(create_transform(**settings, is_training=False))
        placed = model.to(torch_device(device)).eval().requires_grad_(False)
        return cls(placed, preprocessing, digests)
