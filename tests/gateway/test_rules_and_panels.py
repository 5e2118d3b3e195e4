"""Alert rules and dashboard name metrics and labels that services expose, and every alert has its entry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from creditline.embedder.metrics import EmbedderMetrics
from creditline.observability.exposition import exposition
from creditline.observability.process_metrics import Build, expose_process
from creditline.teacher.metrics import TeacherMetrics
from tests.gateway.conftest import RunningGateway

_DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_RULES = _DEPLOY / "prometheus" / "alerts.yaml"
_RULE_TESTS = _DEPLOY / "prometheus" / "alerts_test.yaml"
_RUNBOOK = _DEPLOY / "runbooks" / "alerts.md"
_DASHBOARD = _DEPLOY / "grafana" / "creditline.json"
_METRIC = re.compile(r"\b((?:creditline|process|python)_\w+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\bby \(([\w, ]+)\)")
_LABEL = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")
# Prometheus adds these to every sample.
_OF_THE_SCRAPE = {"job", "instance"}


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(_RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    panels = json.loads(_DASHBOARD.read_text())["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def _expressions() -> Iterator[str]:
    yield from (alert["expr"] for alert in _alerts())
    yield from (target["expr"] for panel in _panels() for target in panel["targets"])


@pytest.fixture(scope="module")
def exposed(lonely_gateway: RunningGateway) -> dict[str, set[str]]:
    """Names of the labels of every sample's name, of all services; for histograms without any sample too."""
    embedder, teacher = EmbedderMetrics().registry, TeacherMetrics().registry
    expose_process(embedder, Build("embedder"))
    expose_process(teacher, Build("teacher"))
    with lonely_gateway.http() as http:
        http.post("/v1/attributions", files={"image": b"no picture"}, data={"prompt": "a kite"})
        texts = [http.get("/metrics").text]
    texts += [exposition(registry).body.decode() for registry in (embedder, teacher)]
    found: dict[str, set[str]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            found.setdefault(family.name, set())
            if family.type == "counter":
                found.setdefault(f"{family.name}_total", set())
            if family.type == "histogram":
                for end in ("bucket", "sum", "count"):
                    found.setdefault(f"{family.name}_{end}", {"le"} if end == "bucket" else set())
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_of_a_rule_or_a_panel_is_exposed(exposed: dict[str, set[str]]) -> None:
    named = {name for expression in _expressions() for name, _ in _METRIC.findall(expression)}
    assert len(named) > 40
    assert {name for name in named if name not in exposed} == set()


# Series of labels that appear with the first use only.
_WITH_USE = {
    "creditline_certificate_expiry_timestamp_seconds": {"connection", "file"},
    "creditline_embedder_calls_total": {"code"},
    "creditline_gateway_key_requests_total": {"key"},
    "creditline_gateway_audited_recall": {"release"},
    "creditline_gateway_audited_recall_low": {"release"},
    "creditline_gateway_audited_missed_influence": {"release"},
    "creditline_gateway_audited_answers": {"release"},
}


def test_every_label_of_a_rule_or_a_panel_is_one_of_its_metric(exposed: dict[str, set[str]]) -> None:
    wrong = set()
    for expression in _expressions():
        known = set(_OF_THE_SCRAPE)
        for name, matchers in _METRIC.findall(expression):
            labels = exposed[name] | _WITH_USE.get(name, set())
            known |= labels
            wrong |= {(name, label) for label in _LABEL.findall(matchers)} - {
                (name, label) for label in labels | _OF_THE_SCRAPE
            }
        grouped = {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",")}
        wrong |= {(expression, label) for label in grouped - known}
    assert wrong == set()


@pytest.mark.parametrize("alert", _alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_is_complete(alert: dict[str, Any]) -> None:
    assert set(alert) == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+[smh]", alert["for"])
    assert alert["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"] == f"deploy/runbooks/alerts.md#{alert['alert'].lower()}"
    for opening, closing in ("()", "{}", "[]"):
        assert alert["expr"].count(opening) == alert["expr"].count(closing)


def test_every_alert_has_an_entry_in_the_runbook_and_tests_of_its_rule() -> None:
    names = [alert["alert"] for alert in _alerts()]
    entries = re.findall(r"(?m)^## (\w+)$", _RUNBOOK.read_text())
    assert entries == names
    tested = [test["name"] for test in yaml.safe_load(_RULE_TESTS.read_text())["tests"]]
    assert sorted(tested) == sorted(f"{name} {what}" for name in names for what in ("fires", "rests"))


def test_an_entry_of_the_runbook_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    severities = {alert["alert"]: alert["labels"]["severity"] for alert in _alerts()}
    for entry in _RUNBOOK.read_text().split("\n## ")[1:]:
        name, _, text = entry.partition("\n")
        assert text.startswith(f"*{severities[name]}.* "), name
        assert "\n- Look at: " in text, name
        assert "\n- Do: " in text, name


def test_every_panel_has_a_title_a_unit_and_legends() -> None:
    titles = [panel["title"] for panel in _panels()]
    assert len(titles) == len(set(titles))
    for panel in _panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
