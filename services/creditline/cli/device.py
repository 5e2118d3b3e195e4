"""The `--device` option of commands that run models."""

from __future__ import annotations

from typing import Annotated

import typer

DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="CREDITLINE_DEVICE",
        help="Device of the models: auto (the first GPU, or the CPU without one), cpu, cuda or cuda:N.",
    ),
]
# Default of the option, the same as in the services' settings.
AUTO = "auto"


def chosen_device(setting: str) -> str:
    """Resolve a device setting and print the device to standard error.

    Args:
        setting: auto, cpu, cuda or cuda:N.

    Returns:
        Name of the device, for torch.

    Raises:
        InvalidInput: The setting is not a device.
        NotReady: The GPU does not exist.
    """
    from creditline.devices import choose_device

    device = choose_device(setting)
    typer.echo(f"models run on {device}", err=True)
    return device.name


def worker_count(workers: int | None, device: str) -> int:
    """Number of training processes; None means two on the CPU and one on a GPU."""
    if workers is not None:
        return workers
    return 2 if device == "cpu" else 1
