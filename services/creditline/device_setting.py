"""The device setting, `CREDITLINE_DEVICE` or `--device`: its grammar, without torch.

`auto` selects the first GPU, or the CPU where there is no GPU; `cpu` the CPU; `cuda` the first GPU; `cuda:N`
the GPU with index N. `creditline.devices` selects the device.
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
    """Check the form of a device setting, and return it unchanged.

    Raises:
        InvalidInput: The setting is none of auto, cpu, cuda and cuda:N.
    """
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


# Type of the field `device` in a settings class: a string that `choose_device` accepts.
DeviceSetting = Annotated[str, AfterValidator(_for_pydantic)]
