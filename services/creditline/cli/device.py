"""The option `--device` of commands that run models."""

from __future__ import annotations

from typing import Annotated

import typer

DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="CREDITLINE_DEVICE",
        help="Where models run: auto (the first GPU, or the processor without one), cpu, cuda or cuda:N.",
    ),
]
# The default of the option, as of the services' settings.
AUTO = "auto"


def chosen_device(setting: str) -> str:
    """Name of the device that a setting means here, which is printed to the standard error.

    Raises InvalidInput for a setting that is none, NotReady for a GPU that is absent.
    """
    from creditline.devices import choose_device

    device = choose_device(setting)
    typer.echo(f"models run on {device}", err=True)
    return device.name


def worker_count(workers: int | None, device: str) -> int:
    """Processes to train in: as asked for, else two on the processor and one on a GPU."""
    if workers is not None:
        return workers
    return 2 if device == "cpu" else 1
