"""Settings that a stack on this machine gives its services."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.gateway.settings import GatewaySettings
from creditline.local.services import StackPlan, StackPorts
from creditline.settings import read_settings


def _plan(directory: Path, *services: str) -> StackPlan:
    return StackPlan(
        services=frozenset(services),
        ports=StackPorts.free(),
        directory=directory,
        release_directory=None,
        generator_directory=None,
        generator_adapters=(),
        corpus_file=None,
        teacher_artifacts=None,
        api_key="key",
        device="cpu",
    )


def test_services_of_a_stack_know_no_tls_and_no_secrets_of_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "GATEWAY_TLS_CERT",
        "EMBEDDER_TLS_CA",
        "QDRANT_API_KEY",
        "BROKER_URL_FILE",
        "LEDGER_URL_FILE",
    ):
        monkeypatch.setenv(f"CREDITLINE_{name}", "/elsewhere")
    plan = _plan(tmp_path, "redis", "qdrant", "embedder", "gateway")
    for name, value in plan.environment().items():
        monkeypatch.setenv(name, value)
    settings = read_settings(GatewaySettings)
    assert settings.tls_of_gateway is None
    assert settings.tls_to_embedder is None
    assert settings.qdrant_credentials.api_key == ""
    assert settings.broker_url == plan.broker_url
    assert settings.ledger_url == plan.ledger_url


def test_a_service_outside_the_stack_keeps_its_tls(tmp_path: Path) -> None:
    names = set(_plan(tmp_path, "gateway").environment())
    assert "CREDITLINE_GATEWAY_TLS_CERT" in names
    assert not [
        name for name in names if name.startswith(("CREDITLINE_EMBEDDER_TLS", "CREDITLINE_QDRANT_API"))
    ]
