"""Renders the kustomizations and reads the environment of their pods."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
K8S = REPOSITORY / "k8s"
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")

Manifest = dict[str, Any]


def render(kustomization: str) -> list[Manifest]:
    """`kubectl kustomize k8s/<kustomization>`; skips the test where there is no kubectl."""
    return render_directory(K8S / kustomization)


def render_directory(directory: Path) -> list[Manifest]:
    """Render the kustomization in any directory; skips the test without kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on this machine: the manifests cannot be rendered")
    run = subprocess.run(
        [kubectl, "kustomize", str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return [manifest for manifest in yaml.safe_load_all(run.stdout) if manifest]


def render_with_components(directory: Path, *components: str) -> list[Manifest]:
    """The base with some components, put together in `directory`."""
    (directory / "all").mkdir()
    for name in ("base", "components"):
        shutil.copytree(K8S / name, directory / name, dirs_exist_ok=True)
    listed = {"resources": ["../base"], "components": [f"../components/{name}" for name in components]}
    (directory / "all" / "kustomization.yaml").write_text(yaml.safe_dump(listed))
    return render_directory(directory / "all")


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Manifests of a kind by name."""
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def pod_specs(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The pod of every workload, by the workload's name."""
    for manifest in manifests:
        if "template" in manifest.get("spec", {}):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


def container(manifests: list[Manifest], workload: str) -> Manifest:
    """The first container of a workload."""
    first: Manifest = dict(pod_specs(manifests))[workload]["containers"][0]
    return first


def environment(
    manifests: list[Manifest], workload: str, secrets: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """The environment of the workload's process, with `$(NAME)` replaced as Kubernetes does."""
    maps = of_kind(manifests, "ConfigMap")
    spec = container(manifests, workload)
    values: dict[str, str] = {}
    for source in spec.get("envFrom", []):
        values.update(maps[source["configMapRef"]["name"]]["data"])
    for entry in spec.get("env", []):
        values[entry["name"]] = _value(entry, values, secrets)
    return values


def _value(entry: Manifest, earlier: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]]) -> str:
    if "valueFrom" in entry:
        reference = entry["valueFrom"]["secretKeyRef"]
        return secrets[reference["name"]][reference["key"]]
    return _REFERENCE.sub(lambda match: earlier[match[1]], entry["value"])


def literal_secrets(manifests: list[Manifest]) -> list[str]:
    """Every value in a rendered Secret."""
    values = []
    for secret in of_kind(manifests, "Secret").values():
        values += [base64.b64decode(value).decode() for value in secret.get("data", {}).values()]
        values += list(secret.get("stringData", {}).values())
    return values


def commands_of_images() -> Iterator[tuple[str, list[str]]]:
    """Image and command of every container in k8s/base that sets a command."""
    for path in sorted((K8S / "base").glob("*.yaml")):
        for _, spec in pod_specs([each for each in yaml.safe_load_all(path.read_text()) if each]):
            for part in [*spec.get("initContainers", []), *spec["containers"]]:
                if "command" in part:
                    yield part["image"], part["command"]
