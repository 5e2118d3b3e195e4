"""An image's environment without a container: the wheel, its extra, and torch.

torch with its CUDA libraries takes gigabytes, so the environments link to the installation that the tests run
with; everything else is installed under the constraints, as the Dockerfile does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.deploy.image_build import carry_out
from tests.deploy.image_programs import extra_of
from tests.deploy.requirements import closure

_SHARED = ("torch", "torchvision", "triton")
_SHARED_PREFIXES = ("nvidia-", "cuda-")
_INSTALL_SECONDS = 900.0
_CHECK_SECONDS = 120.0


class CheckFailed(Exception):
    """An image cannot be installed or does not start; the message holds the end of its output."""


@dataclass(frozen=True)
class ImageEnvironment:
    """The content of an image's /opt/creditline, for this machine's Python."""

    image: str
    directory: Path

    def command(self, command: list[str]) -> tuple[str, ...]:
        """A command of the image as one of this environment."""
        return (str(self.directory / "bin" / command[0]), *command[1:])

    def run(self, command: list[str], environment: dict[str, str], *, seconds: float) -> str:
        """Run a command of the image to its end and return its output. Raises CheckFailed."""
        return _run(self.command(command), seconds, environment={**os.environ, **environment})


def make_environment(image: str, directory: Path) -> ImageEnvironment:
    """Carry out the image's build stage into a fresh environment. Raises CheckFailed."""
    venv.create(directory, with_pip=False)
    made = ImageEnvironment(image, directory)
    (python,) = made.command(["python"])
    if "torch" in closure(extra_of(image)):
        _link_shared(Path(_run((python, "-c", _SITE_PACKAGES), _CHECK_SECONDS).strip()))
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")

    def install(arguments: list[str], where: Path) -> None:
        _run((*pip, *arguments, "--quiet"), _INSTALL_SECONDS, directory=where)

    with tempfile.TemporaryDirectory(dir=directory) as source:
        carry_out(f"build-{image}", Path(source), install)
    _run((*pip, "check"), _CHECK_SECONDS)
    return made


_SITE_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


def _link_shared(site_packages: Path) -> None:
    here = Path(sysconfig.get_path("purelib"))
    for name in sorted({top for each in _shared() for top in _top_level(each)}):
        (site_packages / name).symlink_to(here / name)


def _shared() -> Iterator[Distribution]:
    for each in distributions():
        name = canonicalize_name(each.metadata["Name"])
        if name in _SHARED or name.startswith(_SHARED_PREFIXES):
            yield each


def _top_level(distribution: Distribution) -> set[str]:
    """The entries of site-packages that a distribution owns, with its description."""
    tops = {file.parts[0] for file in distribution.files or []}
    return tops - {"..", "__pycache__"}


def _run(
    command: tuple[str, ...],
    seconds: float,
    *,
    directory: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    try:
        ended = subprocess.run(
            command,
            cwd=directory,
            env=environment or _outside(),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as late:
        raise CheckFailed(f"{' '.join(command)} took longer than {seconds:.0f} s") from late
    if ended.returncode:
        tail = "\n".join((ended.stdout + ended.stderr).splitlines()[-15:])
        raise CheckFailed(f"{' '.join(command)} ended with status {ended.returncode}:\n{tail}")
    return ended.stdout


def _outside() -> dict[str, str]:
    """The environment without a path to any source tree."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
