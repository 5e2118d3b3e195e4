"""The programs that each image runs: read from the Dockerfile and the manifests."""

from __future__ import annotations

import json
import re

from tests.deploy.manifests import REPOSITORY, commands_of_images

DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
IMAGES = ("gateway", "embedder", "teacher")


def stages() -> dict[str, str]:
    """The text of every stage of the Dockerfile by its name."""
    parts = re.split(r"(?m)^FROM (\S+) AS (\S+)$", DOCKERFILE.read_text())
    return {name: f"FROM {base}\n{body}" for base, name, body in zip(*[iter(parts[1:])] * 3, strict=True)}


def extra_of(image: str) -> str:
    """The extra of the service that the Dockerfile installs into an image, beside `traces`."""
    found = re.findall(r'"\.\[(\w+),traces\]"', stages()[f"build-{image}"])
    assert len(found) == 1, f"build-{image} installs {found}"
    return str(found[0])


def entry_point(image: str) -> list[str]:
    """The command that the image starts with."""
    return _json_list(r"(?m)^ENTRYPOINT (\[.*\])$", image)


def health_check(image: str) -> list[str]:
    """The command of the image's HEALTHCHECK."""
    return _json_list(r"(?m)^  CMD (\[.*\])$", image)


def _json_list(pattern: str, image: str) -> list[str]:
    found = re.search(pattern, stages()[image])
    assert found is not None, f"no {pattern} in the stage {image}"
    command: list[str] = json.loads(found[1])
    return command


def other_commands(image: str) -> list[list[str]]:
    """What the manifests start from this image beside its entry point: jobs and init containers."""
    return [command for name, command in commands_of_images() if name == f"creditline-{image}"]


def modules_started(image: str) -> frozenset[str]:
    """The modules that the image's commands start with."""
    commands = [entry_point(image), health_check(image), *other_commands(image)]
    return frozenset(module for command in commands for module in _modules(command))


def _modules(command: list[str]) -> list[str]:
    if command[:2] == ["python", "-m"]:
        return [command[2], f"{command[2]}.__main__"]
    if command[:2] == ["python", "-c"]:
        return re.findall(r"from (creditline[\w.]*) import", command[2])
    assert command[0] == "creditline", f"a command that nothing here knows: {command}"
    return ["creditline.cli.main", f"creditline.cli.{command[1]}"]
