"""All services read their settings from the environment in one way, with a sentence for each wrong value."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import creditline
from creditline.embedder.settings import EmbedderSettings
from creditline.errors import InvalidInput
from creditline.gateway.settings import GatewaySettings
from creditline.index import QdrantSettings
from creditline.ledger import LedgerSettings
from creditline.local.settings import LocalSettings
from creditline.settings import ServiceSettings, read_settings
from creditline.teacher.settings import TeacherSettings

ALL = (EmbedderSettings, GatewaySettings, LedgerSettings, LocalSettings, QdrantSettings, TeacherSettings)
SOURCE = Path(creditline.__file__).parent


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CREDITLINE_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("settings", ALL)
def test_an_empty_variable_means_the_default_in_every_service(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings]
) -> None:
    defaults = read_settings(settings)
    for field in settings.model_fields:
        monkeypatch.setenv(f"{settings.model_config.get('env_prefix', '')}{field}".upper(), "")
    assert read_settings(settings) == defaults


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (EmbedderSettings, "CREDITLINE_EMBEDDER_PORT", "many"),
        (QdrantSettings, "CREDITLINE_QDRANT_GRPC_PORT", "70000"),
        (TeacherSettings, "CREDITLINE_TEACHER_QUEUES", "celery,label"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=f"^{name} is '{value}': (?!Value error)[^\n]+$") as refused:
        read_settings(settings)
    prefix = str(settings.model_config.get("env_prefix"))
    assert refused.value.field == name.removeprefix(prefix).lower()


@pytest.mark.parametrize("password", ["5f0c", "5f/0c", "5f@0c"])
def test_the_password_of_a_refused_address_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("CREDITLINE_BROKER_URL", f"amqp://user:{password}@broker:5672")
    with pytest.raises(InvalidInput, match=r"^CREDITLINE_BROKER_URL is 'amqp://\*\*\*@broker:5672': "):
        read_settings(TeacherSettings)


@pytest.mark.parametrize(
    "rest", [":5f#0c@broker:6379/0", ":5f[0c@broker:6379/0", ":5f/0c@broker:6379/0", "broker:x/0"]
)
def test_a_broker_whose_address_cannot_be_read_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    monkeypatch.setenv("CREDITLINE_BROKER_URL", f"redis://{rest}")
    with pytest.raises(
        InvalidInput, match=r"^CREDITLINE_BROKER_URL .* host and port cannot be read"
    ) as refused:
        read_settings(TeacherSettings)
    assert "5f" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MAX_BATCH", "0", "CREDITLINE_EMBEDDER_MAX_BATCH is '0': "),
        ("TLS_CA", "/etc/ca.crt", "CREDITLINE_EMBEDDER_TLS_CA is given without CREDITLINE_EMBEDDER_TLS_CERT"),
    ],
)
def test_the_embedder_stops_at_once_with_one_sentence(variable: str, value: str, said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "creditline.embedder"],
        env={**os.environ, f"CREDITLINE_EMBEDDER_{variable}": value},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"creditline embedder: {said}")
    assert ended.stderr.count("\n") == 1


def test_every_settings_class_has_the_one_base_and_is_only_read_by_the_one_function() -> None:
    bases, read = set(), set()
    for path in SOURCE.rglob("*.py"):
        if path != SOURCE / "settings.py":
            for node in ast.walk(ast.parse(path.read_text())):
                bases |= {path.name for name in _base_names(node) if name == "BaseSettings"}
                read |= set(_settings_made(node))
    assert bases == set()
    assert read == set()


def _base_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        yield from (ast.unparse(base) for base in node.bases)


def _settings_made(node: ast.AST) -> Iterator[str]:
    """Calls such as `GatewaySettings()`, which read the environment and raise what pydantic raises."""
    names = {settings.__name__ for settings in ALL}
    if isinstance(node, ast.Call) and not node.args and ast.unparse(node.func) in names:
        yield ast.unparse(node)
