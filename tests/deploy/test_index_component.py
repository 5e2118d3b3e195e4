"""The component that the capacity planner writes, rendered over the base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kubernetes_validate
import pytest

from creditline.index import IndexPlan
from creditline.index.capacity.choice import Machines, best, options
from creditline.index.capacity.estimates import Demand
from creditline.index.capacity.values import write_component
from tests.deploy.manifests import K8S, Manifest, container, of_kind, pod_specs, render_directory


def _rendered(directory: Path, works: int, ram: float) -> tuple[list[Manifest], IndexPlan, int]:
    machines = Machines(ram, cores=4)
    chosen = best(options(Demand(works, 256), machines), machines)
    shutil.copytree(K8S / "base", directory / "base")
    write_component(chosen, machines, directory / "planned")
    kustomization = {"resources": ["../base"], "components": ["../planned"]}
    (directory / "overlay").mkdir()
    (directory / "overlay" / "kustomization.yaml").write_text(json.dumps(kustomization))
    return render_directory(directory / "overlay"), chosen.plan, chosen.nodes


@pytest.mark.parametrize(("works", "ram"), [(1_000_000, 8e9), (400_000_000, 32e9)])
def test_the_planned_index_renders_over_the_base_and_is_valid(tmp_path: Path, works: int, ram: float) -> None:
    manifests, plan, nodes = _rendered(tmp_path, works, ram)
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    qdrant = of_kind(manifests, "StatefulSet")["qdrant"]["spec"]
    assert qdrant["replicas"] == nodes
    assert container(manifests, "qdrant")["resources"]["limits"]["memory"] == f"{int(ram // 2**30)}Gi"
    assert (nodes > 1) == (qdrant["serviceName"] == "qdrant-peers")
    assert ("qdrant-peers" in of_kind(manifests, "Service")) == (nodes > 1)
    (kept,) = [m for name, m in of_kind(manifests, "ConfigMap").items() if name.startswith("index-plan")]
    assert IndexPlan.from_json(kept["data"]["plan.json"]) == plan


def test_the_loading_job_lays_the_index_out_by_the_plan(tmp_path: Path) -> None:
    manifests, _, _ = _rendered(tmp_path, 1_000_000, 8e9)
    job = dict(pod_specs(manifests))["load-index"]
    mounted = {mount["name"]: mount["mountPath"] for mount in job["containers"][0]["volumeMounts"]}
    variables = {entry["name"]: entry.get("value") for entry in job["containers"][0]["env"]}
    assert variables["CREDITLINE_INDEX_PLAN"] == f"{mounted['index-plan']}/plan.json"
    (volume,) = [each for each in job["volumes"] if each["name"] == "index-plan"]
    assert volume["configMap"]["name"] in of_kind(manifests, "ConfigMap")
