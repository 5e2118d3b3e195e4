"""Deployment files for a chosen layout: a kustomize component in JSON, which is valid YAML."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from creditline.index.capacity.choice import Machines, Option

_GIBIBYTE = 2**30
# Factor of disk space: a rebuild of a segment needs a temporary second copy, and the log needs space.
_DISK_RESERVE = 1.5
_PEERS = "qdrant-peers"
_PLAN_FILE = "plan.json"
_MOUNT_PATH = "/etc/creditline/index-plan"


def write_component(option: Option, machines: Machines, directory: Path) -> None:
    """Write a kustomize component that deploys Qdrant by a layout and loads the index by its plan.

    It sets the number of machines, their CPU, memory and disk, and cluster mode where there are several. A
    kustomization lists the directory under `components`.

    Args:
        option: The chosen layout.
        machines: Resources of each machine.
        directory: Directory of the component; created when it is missing.
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
        files["peers.yaml"] = _peer_service()
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
    """Command and port of cluster mode: every pod announces its address, and the others join the first."""
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


def _peer_service() -> dict[str, Any]:
    """Headless service by which the pods find each other, also before they are ready."""
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
    """Patch of the load job, which mounts the plan and creates the collection by it."""
    container = {
        "name": "load-index",
        "env": [{"name": "CREDITLINE_INDEX_PLAN", "value": f"{_MOUNT_PATH}/{_PLAN_FILE}"}],
        "volumeMounts": [{"name": "index-plan", "mountPath": _MOUNT_PATH, "readOnly": True}],
    }
    volume = {"name": "index-plan", "configMap": {"name": "index-plan"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "load-index"},
        "spec": {"template": {"spec": {"containers": [container], "volumes": [volume]}}},
    }
