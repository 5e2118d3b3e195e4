"""The device setting, `CREDITLINE_DEVICE` or `--device`: its grammar, without torch.

`auto` takes the first GPU, or the processor where there is no GPU; `cpu` is the processor, `cuda` the first
GPU, `cuda:N` the GPU with index N. `creditline.devices` chooses the device that a setting means.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from creditline.errors import InvalidInput

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
VARIABLE = "CREDITLINE_DEVICE"
_GRAMMAR = re.compile(rf"{AUTO}|{CPU}|{CUDA}(?::(?P<index>\d{{1,3}}))?")


def checked_setting(text: str) -> str:
    """The setting as it is. Raises InvalidInput when it is none of auto, cpu, cuda and cuda:N."""
    if _GRAMMAR.fullmatch(text) is None:
        raise InvalidInput(
            f"device {text!r} is none of {AUTO}, {CPU}, {CUDA} and {CUDA}:N; set {VARIABLE} or --device to"
            f" one of them, such as {CUDA}:0",
            field="device",
        )
    return text


def _for_pydantic(text: str) -> str:
    try:
        return checked_setting(text)
    except InvalidInput as error:
        raise ValueError(error.message) from error


# The type of the field `device` of a settings class: text that `choose_device` understands.
DeviceSetting = Annotated[str, AfterValidator(_for_pydantic)]
