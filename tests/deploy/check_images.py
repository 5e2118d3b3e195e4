"""`make check-images`: installs and starts the contents of the images on this machine, without containers.

Carries out the Dockerfile's build stages into an environment for each image, starts the images' own commands
on free loopback ports, and asks for one answer and one audit. Needs the package index for the environments;
everything that was made and started is gone at the end.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from tests.deploy.image_environment import CheckFailed, ImageEnvironment, make_environment
from tests.deploy.image_programs import IMAGES, extra_of
from tests.deploy.image_stack import ImageStack, Started

_TORCH_FREE = ("gateway",)
_LOG_WIDTH = 160
_FOUND = (
    "import importlib.util as u, creditline; print(creditline.__file__, u.find_spec('torch') is not None)"
)


def main() -> int:
    """Print a table of the started programs; returns 1 if one did not start, after the end of its log."""
    console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH)
    _forget_settings()
    with tempfile.TemporaryDirectory(prefix="creditline-images-") as temporary:
        directory = Path(temporary)
        rows: list[Started] = []
        try:
            environments = _environments(directory, console.print)
            stack = ImageStack(environments, _made(directory / "run"), rows)
            # As in a container, the working directory holds nothing that Python could import.
            with contextlib.chdir(_made(directory / "work")):
                stack.check()
        except CheckFailed as failure:
            console.print(_table(rows))
            console.print(f"failed: {failure}", style="bold red", markup=False)
            return 1
    console.print(_table(rows))
    return 0


def _forget_settings() -> None:
    """The images' programs must find the settings of this check only."""
    for name in [name for name in os.environ if name.startswith("CREDITLINE_")]:
        del os.environ[name]


def _environments(directory: Path, report: Callable[[str], None]) -> dict[str, ImageEnvironment]:
    made = {}
    for image in IMAGES:
        made[image] = make_environment(image, directory / image)
        _refuse_leaks(made[image])
        report(f"installed creditline\\[{extra_of(image)}] for the image {image}")
    return made


def _refuse_leaks(environment: ImageEnvironment) -> None:
    """The environment must import its own package, and torch only where the image has it."""
    said = environment.run(["python", "-P", "-c", _FOUND], {"PYTHONPATH": ""}, seconds=60)
    where, has_torch = said.rsplit(" ", 1)
    if not Path(where).is_relative_to(environment.directory):
        raise CheckFailed(f"{environment.image} imports creditline from {where}")
    if (has_torch.strip() == "True") == (environment.image in _TORCH_FREE):
        raise CheckFailed(f"{environment.image}: torch installed is {has_torch.strip()}")


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _table(rows: list[Started]) -> Table:
    table = Table(*(Column(name, overflow="fold") for name in ("image", "program", "seen", "seconds")))
    for row in rows:
        table.add_row(row.image, row.program, row.seen, f"{row.seconds:.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
