"""Secrets in files: URLs with passwords at the start, the ledger's password for each new connection."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from creditline.credentials.following import CHECK_SECONDS
from creditline.credentials.secret_files import read_secret
from creditline.errors import InvalidInput, NotReady, Unavailable
from creditline.gateway.settings import GatewaySettings
from creditline.ledger import Ledger, LedgerSettings, Scope
from creditline.settings import ServiceSettings, read_settings
from creditline.teacher.settings import TeacherSettings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROKER_URL", "LEDGER_URL", "BROKER_URL_FILE", "LEDGER_URL_FILE"):
        monkeypatch.delenv(f"CREDITLINE_{name}", raising=False)


@pytest.mark.parametrize("settings", [GatewaySettings, TeacherSettings])
def test_both_urls_can_lie_in_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: type[GatewaySettings | TeacherSettings]
) -> None:
    (tmp_path / "broker").write_text("redis://:5f0c@redis:6379/0\n")
    (tmp_path / "ledger").write_text("postgresql+psycopg://u:5f0c@db/creditline\n")
    monkeypatch.setenv("CREDITLINE_BROKER_URL_FILE", str(tmp_path / "broker"))
    monkeypatch.setenv("CREDITLINE_LEDGER_URL_FILE", str(tmp_path / "ledger"))
    read = read_settings(settings)
    assert read.broker_url == "redis://:5f0c@redis:6379/0"
    assert read.ledger_url == "postgresql+psycopg://u:5f0c@db/creditline"


@pytest.mark.parametrize(
    ("settings", "variable"),
    [(TeacherSettings, "CREDITLINE_BROKER_URL"), (LedgerSettings, "CREDITLINE_LEDGER_URL")],
)
def test_a_file_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: type[ServiceSettings], variable: str
) -> None:
    file = tmp_path / "secret"
    monkeypatch.setenv(f"{variable}_FILE", str(file))
    with pytest.raises(InvalidInput, match=f"{variable}_FILE: the secret in {file} cannot be read"):
        read_settings(settings)
    file.write_text("redis://somewhere")
    monkeypatch.setenv(variable, "redis://elsewhere")
    with pytest.raises(InvalidInput, match=f"{variable} and {variable}_FILE are both given"):
        read_settings(settings)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"two\nlines", b"\xff\xfe", b"x" * 70_000])
def test_only_one_line_of_text_is_a_secret(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"the file {file} does not hold a secret"):
        read_secret(file)
    with pytest.raises(NotReady, match="cannot be read"):
        read_secret(tmp_path / "nothing")


def _require_password(url: str, role: str, password: str) -> None:
    """Make a role that owns the URL's database and must give its password."""
    address = make_url(url)
    conninfo = f"host={address.host} port={address.port} user={address.username} dbname={address.database}"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")  # type: ignore[arg-type]
        connection.execute(f"ALTER DATABASE {address.database} OWNER TO {role}")  # type: ignore[arg-type]
        connection.execute(f"ALTER SCHEMA public OWNER TO {role}")  # type: ignore[arg-type]
        (file,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        lines = f"(VALUES ('host all {role} all scram-sha-256'), ('host all all all trust'))"
        connection.execute(f"COPY {lines} TO '{file}'")  # type: ignore[arg-type]
        connection.execute("SELECT pg_reload_conf()")


def _change_password(url: str, role: str, password: str) -> None:
    """Change a role's password, and end its sessions."""
    address = make_url(url)
    conninfo = f"host={address.host} port={address.port} user={address.username} dbname={address.database}"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role} PASSWORD '{password}'")  # type: ignore[arg-type]
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,)
        )


def test_a_new_password_of_the_ledger_is_used_for_the_next_connection(
    postgres_url: str, tmp_path: Path
) -> None:
    role, file = f"keeper_{tmp_path.name[-8:].replace('-', '_')}".lower(), tmp_path / "password"
    _require_password(postgres_url, role, "first")
    address = make_url(postgres_url).set(username=role).update_query_dict({"password_file": str(file)})
    url = address.render_as_string(hide_password=False)
    file.write_text("wrong\n")
    with pytest.raises(Unavailable, match="password authentication failed") as refused:
        Ledger.open(url)
    assert "wrong" not in refused.value.message
    file.write_text("first\n")
    with Ledger.open(url) as ledger:
        assert ledger.keys.create("museum", [Scope.READ]).record.owner == "museum"
        _change_password(postgres_url, role, "second")
        file.write_text("second\n")
        time.sleep(CHECK_SECONDS)
        assert len(ledger.keys.all()) == 1
    with pytest.raises(NotReady, match=r"the secret in .* cannot be read"):
        Ledger.open(url.replace("password&", "nothing&") if "&" in url else f"{url}-gone")
