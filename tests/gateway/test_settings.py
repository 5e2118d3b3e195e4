"""The gateway's settings: defaults for one machine, and a sentence for what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from creditline.errors import InvalidInput
from creditline.gateway.settings import GatewaySettings
from creditline.settings import read_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CREDITLINE_")]:
        monkeypatch.delenv(name)


def test_the_defaults_are_those_of_one_machine() -> None:
    settings = read_settings(GatewaySettings)
    assert (settings.gateway_host, settings.gateway_grpc_port, settings.gateway_http_port) == (
        "127.0.0.1",
        7100,
        7180,
    )
    assert (settings.embedder_target, settings.qdrant_grpc_port) == ("127.0.0.1:7200", 6334)
    assert settings.keys == frozenset()


def test_keys_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDITLINE_API_KEYS", "one, two,,")
    assert read_settings(GatewaySettings).keys == {"one", "two"}


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDITLINE_CORPUS_FILE", "")
    assert read_settings(GatewaySettings).corpus_file is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CREDITLINE_GATEWAY_GRPC_PORT", "many"),
        ("CREDITLINE_GATEWAY_HTTP_PORT", "70000"),
        ("CREDITLINE_REQUEST_TIMEOUT_SECONDS", "0"),
        ("CREDITLINE_AUDIT_FRACTION", "1.5"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=f"^{name} is '{value}': [^\n]+$"):
        read_settings(GatewaySettings)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
def test_without_keys_only_a_loopback_address_is_served(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("CREDITLINE_GATEWAY_HOST", host)
    with pytest.raises(InvalidInput, match="set CREDITLINE_API_KEYS"):
        read_settings(GatewaySettings)
    monkeypatch.setenv("CREDITLINE_API_KEYS", "key")
    assert read_settings(GatewaySettings).gateway_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_needs_no_keys(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("CREDITLINE_GATEWAY_HOST", host)
    assert read_settings(GatewaySettings).gateway_host == host


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CREDITLINE_GATEWAY_HOST", "0.0.0.0", "set CREDITLINE_API_KEYS"),
        ("CREDITLINE_RELEASE_DIRECTORY", "/nowhere", "no release at /nowhere"),
        ("CREDITLINE_CORPUS_FILE", "/nowhere.parquet", "/nowhere.parquet does not exist"),
    ],
)
def test_the_process_stops_at_once_with_one_sentence(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), name: value}
    ended = subprocess.run(
        [sys.executable, "-m", "creditline.gateway"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("variables", "least"),
    [
        ({}, 0.0),
        ({"CREDITLINE_MIN_PROMPT_AGREEMENT": "0.2"}, 0.2),
        ({"CREDITLINE_LOW_AGREEMENT": "picture"}, 0.05),
        ({"CREDITLINE_LOW_AGREEMENT": "refuse"}, 0.05),
        ({"CREDITLINE_LOW_AGREEMENT": "picture", "CREDITLINE_MIN_PROMPT_AGREEMENT": "0.01"}, 0.01),
    ],
)
def test_prompts_count_from_the_stated_agreement_on(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], least: float
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read_settings(GatewaySettings).least_agreement == least
