"""The images: a target per service, no root, a health check, and no torch in the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from tests.deploy.manifests import REPOSITORY

DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
OURS = ("gateway", "embedder", "teacher")
MODEL_PACKAGES = {"torch", "torchvision", "diffusers", "transformers", "open-clip-torch", "timm"}


def _stages() -> dict[str, str]:
    """The text of every stage of the Dockerfile by its name."""
    parts = re.split(r"(?m)^FROM (\S+) AS (\S+)$", DOCKERFILE.read_text())
    return {name: f"FROM {base}\n{body}" for base, name, body in zip(*[iter(parts[1:])] * 3, strict=True)}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(package: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """Names of all packages that installing `package[extras]` brings, from what is installed here."""
    if (package, extras) in seen:
        return
    seen.add((package, extras))
    yield package
    try:
        requirements = requires(package) or []
    except PackageNotFoundError:
        return
    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield from _needed(_canonical(requirement.name), frozenset(requirement.extras), seen)


def test_the_gateway_installs_without_any_model_package() -> None:
    needed = set(_needed("creditline", frozenset({"gateway"}), set()))
    assert {"fastapi", "grpcio", "qdrant-client", "sqlalchemy", "celery"} <= needed
    assert needed & MODEL_PACKAGES == set()


def test_the_embedder_and_the_teacher_bring_torch() -> None:
    for service in ("embedder", "teacher"):
        assert "torch" in set(_needed("creditline", frozenset({service}), set()))


@pytest.mark.parametrize("service", OURS)
def test_every_service_has_a_target_with_its_own_packages_and_a_health_check(service: str) -> None:
    stages = _stages()
    assert f'ENTRYPOINT ["python", "-m", "creditline.{service}"]' in stages[service]
    assert "HEALTHCHECK" in stages[service]
    assert f'".[{service}]"' in stages[f"build-{service}"]
    assert stages[service].startswith("FROM runtime\n")


def test_the_services_run_without_root_on_a_pinned_base() -> None:
    text, stages = DOCKERFILE.read_text(), _stages()
    assert re.search(r"(?m)^USER (?!0\b|root\b)\S+", stages["runtime"])
    assert all("USER" not in stages[service] for service in OURS)
    assert re.search(r"(?m)^ARG PYTHON=3\.11\.\d+-slim-\w+$", text)


def test_health_checks_import_what_exists() -> None:
    from creditline.local import health

    for name in re.findall(r"from creditline\.local\.health import (\w+)", DOCKERFILE.read_text()):
        assert callable(getattr(health, name))


def test_the_images_get_the_package_and_nothing_else() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert all((REPOSITORY / path).exists() for path in allowed)
    copied = set(re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text()))
    assert {path for line in copied for path in line.split()} <= allowed
