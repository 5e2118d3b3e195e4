"""A chosen layout as values for the deployment: a kustomize component, in JSON, which is YAML too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from creditline.index.capacity.choice import Machines, Option

_GIBIBYTE = 2**30
# Building segments anew needs a second copy of the largest for a while, and the log its own room.
_DISK_RESERVE = 1.5
_PEERS = "qdrant-peers"
_PLAN_FILE = "plan.json"
_MOUNT = "/etc/creditline/index-plan"


def write_component(option: Option, machines: Machines, directory: Path) -> None:
    """Write Qdrant's machines, memory and disk, cluster mode for several, and the plan for loading.

    A kustomization names it under `components`.
    """
    clustered = option.nodes > 1
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "kustomization.yaml": _kustomization(clustered=clustered),
        "qdrant.yaml": _stateful_set(option, machines, clustered=clustered),
        "load-index.yaml": _loading_job(),
        _PLAN_FILE: json.loads(option.plan.to_json()),
    }
    if clustered:
        files["peers.yaml"] = _peers()
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")


def _kustomization(*, clustered: bool) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": ["peers.yaml"] if clustered else [],
        "patches": [{"path": "qdrant.yaml"}, {"path": "load-index.yaml"}],
        "configMapGenerator": [{"name": "index-plan", "files": [_PLAN_FILE]}],
    }


def _stateful_set(option: Option, machines: Machines, *, clustered: bool) -> dict[str, Any]:
    disk = math.ceil(option.disk / option.nodes * _DISK_RESERVE / _GIBIBYTE)
    memory = f"{math.floor(machines.ram_bytes / _GIBIBYTE)}Gi"
    resources = {
        "requests": {"cpu": str(machines.cores), "memory": memory},
        "limits": {"memory": memory},
    }
    container = {"name": "qdrant", "resources": resources, **(_cluster_mode() if clustered else {})}
    claim = {
        "metadata": {"name": "storage"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{disk}Gi"}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "qdrant"},
        "spec": {
            "replicas": option.nodes,
            **({"serviceName": _PEERS} if clustered else {}),
            "template": {"spec": {"containers": [container]}},
            "volumeClaimTemplates": [claim],
        },
    }


def _cluster_mode() -> dict[str, Any]:
    """Every machine tells the others where it is, and all but the first join the first."""
    join = (
        f'own="http://$HOSTNAME.{_PEERS}:6335"; '
        'if [ "$HOSTNAME" = qdrant-0 ]; then exec ./entrypoint.sh --uri "$own"; '
        f'else exec ./entrypoint.sh --bootstrap "http://qdrant-0.{_PEERS}:6335" --uri "$own"; fi'
    )
    return {
        "command": ["/bin/sh", "-c", join],
        "env": [{"name": "QDRANT__CLUSTER__ENABLED", "value": "true"}],
        "ports": [{"name": "p2p", "containerPort": 6335}],
    }


def _peers() -> dict[str, Any]:
    """The names by which machines find each other, before they are ready too."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _PEERS},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app.kubernetes.io/name": "qdrant"},
            "ports": [{"name": "p2p", "port": 6335, "targetPort": "p2p"}],
        },
    }


def _loading_job() -> dict[str, Any]:
    """Whoever loads the index lays it out by the plan."""
    container = {
        "name": "load-index",
        "env": [{"name": "CREDITLINE_INDEX_PLAN", "value": f"{_MOUNT}/{_PLAN_FILE}"}],
        "volumeMounts": [{"name": "index-plan", "mountPath": _MOUNT, "readOnly": True}],
    }
    volume = {"name": "index-plan", "configMap": {"name": "index-plan"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "load-index"},
        "spec": {"template": {"spec": {"containers": [container], "volumes": [volume]}}},
    }
