"""What Prometheus finds in a cluster: the targets of its service discovery, and its relabelling of them.

Only what deploy/prometheus/kubernetes.yaml uses; a test compares it with Prometheus' own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.deploy.manifests import Manifest

Labels = dict[str, str]
_POD = "__meta_kubernetes_pod"


def discovered_targets(manifests: Sequence[Manifest], address: str = "10.0.0.1") -> Iterator[Labels]:
    """Labels of each target of the role `pod`: one for each port of each container."""
    for manifest in manifests:
        template = manifest.get("spec", {}).get("template")
        if template is None:
            continue
        pod = _pod_labels(manifest["metadata"]["name"], template["metadata"])
        for container in (*template["spec"].get("initContainers", ()), *template["spec"]["containers"]):
            for port in container.get("ports", ()):
                number = str(port["containerPort"])
                yield {
                    "__address__": f"{address}:{number}",
                    "__scheme__": "http",
                    f"{_POD}_container_port_number": number,
                    **pod,
                }


def _pod_labels(name: str, metadata: Manifest) -> Labels:
    labels = {f"{_POD}_name": f"{name}-5f0c"}
    for kind in ("label", "annotation"):
        for key, value in metadata.get(f"{kind}s", {}).items():
            labels[f"{_POD}_{kind}_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}"] = value
    return labels


def relabelled(labels: Mapping[str, str], rules: Sequence[Mapping[str, Any]]) -> Labels | None:
    """A target's labels after all rules; None for a target that they drop."""
    changed = dict(labels)
    for rule in rules:
        value = ";".join(changed.get(name, "") for name in rule["source_labels"])
        action = rule.get("action", "replace")
        match = re.fullmatch(rule.get("regex", "(.*)"), value, re.DOTALL)
        if action == "keepequal":
            if value != changed.get(rule["target_label"], ""):
                return None
        elif action == "keep":
            if match is None:
                return None
        elif action == "replace":
            if match is not None:
                changed[rule["target_label"]] = match.expand(
                    re.sub(r"\$(\d)", r"\\\1", rule.get("replacement", "$1"))
                )
        else:
            raise NotImplementedError(f"relabelling by {action}")
    return changed
