"""Prometheus' configuration for a cluster finds every process of ours, under the jobs that the rules name."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import REPOSITORY, Manifest, render, render_with_components
from tests.deploy.relabelling import Labels, discovered_targets, relabelled
from tests.real_parts.prometheus import installed

_PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
_DASHBOARD = REPOSITORY / "deploy" / "grafana" / "creditline.json"
_PORTS = {"creditline-gateway": "7190", "creditline-embedder": "7290", "creditline-teacher": "7390"}


def _configuration(name: str = "kubernetes.yaml") -> dict[str, Any]:
    configuration: dict[str, Any] = yaml.safe_load((_PROMETHEUS / name).read_text())
    return configuration


def _scrapes() -> dict[str, Any]:
    (scrapes,) = _configuration()["scrape_configs"]
    found: dict[str, Any] = scrapes
    return found


def _found(manifests: list[Manifest]) -> list[Labels]:
    """Labels of the targets that are scraped."""
    rules = _scrapes()["relabel_configs"]
    kept = [relabelled(labels, rules) for labels in discovered_targets(manifests)]
    return [labels for labels in kept if labels is not None]


def test_every_process_is_scraped_once_at_the_port_of_its_metrics() -> None:
    found = _found(render("base"))
    assert {each["job"]: each["__address__"].rpartition(":")[2] for each in found} == _PORTS
    assert len(found) == len(_PORTS)
    assert {each["__scheme__"] for each in found} == {"http"}
    assert {each["instance"].rpartition("-")[0] for each in found} == {"gateway", "embedder", "teacher"}


def test_with_tls_gateway_and_embedder_are_scraped_by_https(tmp_path: Path) -> None:
    schemes = {each["job"]: each["__scheme__"] for each in _found(render_with_components(tmp_path, "tls"))}
    assert schemes == {
        "creditline-gateway": "https",
        "creditline-embedder": "https",
        "creditline-teacher": "http",
    }
    # Pods are found by their addresses, and certificates are for names.
    assert _scrapes()["tls_config"] == {"insecure_skip_verify": True}


def test_all_configurations_have_the_same_rules_and_jobs() -> None:
    for name in ("prometheus.yaml", "prometheus-tls.yaml"):
        configuration = _configuration(name)
        assert {each["job_name"] for each in configuration["scrape_configs"]} == set(_PORTS)
        assert configuration["rule_files"] == _configuration()["rule_files"] == ["alerts.yaml"]
        assert configuration["global"] == _configuration()["global"]


def test_every_selector_of_a_job_in_rules_and_panels_selects_one() -> None:
    text = (_PROMETHEUS / "alerts.yaml").read_text() + _DASHBOARD.read_text().replace('\\"', '"')
    selectors = re.findall(r'\bjob(=~?)"([^"]+)"', text)
    assert selectors
    for operator, value in selectors:
        pattern = value.replace("\\\\", "\\") if operator == "=~" else re.escape(value)
        assert any(re.fullmatch(pattern, job) for job in _PORTS), value


def _with_static_targets(manifests: list[Manifest], directory: Path) -> Path:
    """The configuration with the targets written down: Debian's Prometheus is built without Kubernetes."""
    configuration, groups = _configuration(), []
    for labels in discovered_targets(manifests):
        address = labels.pop("__address__")
        groups.append({"targets": [address], "labels": labels})
    (scrapes,) = configuration["scrape_configs"]
    assert scrapes.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    scrapes["static_configs"] = groups
    (directory / "alerts.yaml").write_text((_PROMETHEUS / "alerts.yaml").read_text())
    written = directory / "prometheus.yaml"
    written.write_text(yaml.safe_dump(configuration))
    return written


def _promtool(*arguments: str) -> str:
    run = subprocess.run(
        [installed("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.system
def test_promtool_accepts_the_configuration_and_finds_the_same_targets(tmp_path: Path) -> None:
    manifests = render_with_components(tmp_path, "tls")
    file = _with_static_targets(manifests, tmp_path)
    assert "SUCCESS" in _promtool("check", "config", str(file))
    answer = json.loads(
        _promtool("check", "service-discovery", "--timeout=3s", str(file), _scrapes()["job_name"])
    )
    kept = [each["labels"] for each in answer if each["labels"]]
    assert _named(kept) == _named(_found(manifests))
    assert len(answer) > len(kept) == len(_PORTS)


def _named(targets: list[Labels]) -> list[Labels]:
    """What names a target, and where it is, of each target in the order of the jobs."""
    names = ("job", "instance", "__address__", "__scheme__")
    return sorted(
        ({name: labels[name] for name in names} for labels in targets), key=lambda each: each["job"]
    )
