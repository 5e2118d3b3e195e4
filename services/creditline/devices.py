"""The device that models run on, chosen by the setting of `creditline.device_setting`.

Torch is imported inside the functions that need it.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from creditline.device_setting import AUTO, CPU, CUDA, VARIABLE, checked_setting
from creditline.errors import NotReady

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Device:
    """A device that is present on this machine."""

    name: str
    """Torch's name of the device: `cpu` or `cuda:N`."""
    model: str
    """Hardware model, such as `NVIDIA H200`, for logs and metrics."""

    def __str__(self) -> str:
        return f"{self.name} ({self.model})"

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.name != CPU

    def labels(self) -> dict[str, str]:
        """Labels of the metric `creditline_device_info`, which are also the fields of the health response."""
        return {"device": self.name, "name": self.model}


PROCESSOR = Device(CPU, platform.machine())


def pick_device(setting: str, gpus: Sequence[str]) -> Device:
    """The device that a setting selects on a machine with the given GPUs.

    Args:
        setting: `auto`, `cpu`, `cuda` or `cuda:N`.
        gpus: Model of each GPU, in torch's order.

    Raises:
        InvalidInput: The setting is none of these.
        NotReady: The GPU that it names is absent.
    """
    checked_setting(setting)
    if setting == CPU or (setting == AUTO and not gpus):
        return PROCESSOR
    index = int(setting.partition(":")[2] or 0)
    if index >= len(gpus):
        present = ", ".join(f"{CUDA}:{number} ({model})" for number, model in enumerate(gpus)) or "none"
        raise NotReady(
            f"{VARIABLE} or --device is {setting!r}, but that GPU is absent; GPUs that torch can use here:"
            f" {present}; name one that is present, or {CPU}",
            field="device",
        )
    return Device(f"{CUDA}:{index}", gpus[index])


def choose_device(setting: str) -> Device:
    """The device that a setting selects on this machine.

    Args:
        setting: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        InvalidInput: The setting is none of these.
        NotReady: The GPU that it names is absent.
    """
    checked_setting(setting)
    return pick_device(setting, () if setting == CPU else present_gpus())


def present_gpus() -> tuple[str, ...]:
    """Model of each GPU that torch can use, in torch's order."""
    import torch

    if not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def torch_device(name: str) -> torch.device:
    """The `torch.device` of a name (`cpu`, `cuda:N`); for a GPU, `full_precision` is called as well."""
    import torch

    device = torch.device(name)
    if device.type == CUDA:
        full_precision()
    return device


def full_precision() -> None:
    """Turn TF32 off in this process: float32 products and convolutions keep all 24 bits of the significand.

    By default torch leaves TF32 on for convolutions, which keeps only 11 bits; the differences that decide
    the ranking of works are smaller than that.
    """
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def device_of(module: torch.nn.Module) -> torch.device:
    """The device of a module's parameters, which must all be on one device."""
    return next(module.parameters()).device
