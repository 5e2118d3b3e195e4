"""The images: a target per service, no root, a health check, and no torch in the gateway."""

from __future__ import annotations

import re

import pytest

from tests.deploy.image_programs import DOCKERFILE, IMAGES, entry_point, extra_of, health_check, stages
from tests.deploy.manifests import REPOSITORY
from tests.deploy.requirements import closure

MODEL_PACKAGES = {"torch", "torchvision", "diffusers", "transformers", "open-clip-torch", "timm"}


def test_the_gateway_installs_without_any_model_package() -> None:
    needed = closure("gateway")
    assert {"fastapi", "grpcio", "qdrant-client", "sqlalchemy", "celery"} <= needed
    assert needed & MODEL_PACKAGES == set()


def test_the_embedder_and_the_teacher_bring_torch() -> None:
    for service in ("embedder", "teacher"):
        assert "torch" in closure(service)


@pytest.mark.parametrize("service", IMAGES)
def test_every_service_has_a_target_with_its_own_packages_and_a_health_check(service: str) -> None:
    assert entry_point(service) == ["python", "-m", f"creditline.{service}"]
    assert health_check(service)[:2] == ["python", "-c"]
    assert extra_of(service) == service
    assert stages()[service].startswith("FROM runtime\n")


def test_the_services_run_without_root_on_a_pinned_base() -> None:
    text = DOCKERFILE.read_text()
    assert re.search(r"(?m)^USER (?!0\b|root\b)\S+", stages()["runtime"])
    assert all("USER" not in stages()[service] for service in IMAGES)
    assert re.search(r"(?m)^ARG PYTHON=3\.11\.\d+-slim-\w+$", text)


def test_health_checks_import_what_exists() -> None:
    from creditline.local import health

    for name in re.findall(r"from creditline\.local\.health import (\w+)", DOCKERFILE.read_text()):
        assert callable(getattr(health, name))


def test_the_images_contain_the_package_and_nothing_else() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert all((REPOSITORY / path).exists() for path in allowed)
    copied = set(re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text()))
    assert {path for line in copied for path in line.split()} <= allowed
