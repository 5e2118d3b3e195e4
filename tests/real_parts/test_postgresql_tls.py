"""The ledger on a PostgreSQL with TLS: by the server's own certificate only, or with a sentence of why not.

PyPI's PostgreSQL is built without TLS, so a proxy speaks it there; Debian's has `ssl=on`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from creditline.errors import Unavailable
from creditline.ledger import Ledger, LedgerSettings
from tests.ledger.conftest import record
from tests.real_parts.certificates import CertificateAuthority, ServerCertificate
from tests.real_parts.postgresql import (
    PostgresServer,
    pypi_installation,
    running_postgres,
    system_installation,
)
from tests.real_parts.tls_proxy import tls_in_front_of

_PASSWORD = "so-secret"


@dataclass(frozen=True)
class EncryptedPostgres:
    """A server, and the port on which TLS is spoken with its certificate."""

    server: PostgresServer
    port: int

    def url(self, authority: Path | None, *, host: str = "127.0.0.1", mode: str = "verify-full") -> str:
        """URL of a new database, with a password, for a client that trusts one authority."""
        url = make_url(self.server.new_database()).set(password=_PASSWORD, host=host, port=self.port)
        trusted = {} if authority is None else {"sslrootcert": str(authority)}
        return url.update_query_dict({"sslmode": mode, **trusted}).render_as_string(hide_password=False)


@pytest.fixture(scope="module", params=["pypi", pytest.param("system", marks=pytest.mark.system)])
def encrypted(
    request: pytest.FixtureRequest, server_certificate: ServerCertificate
) -> Iterator[EncryptedPostgres]:
    with ExitStack() as running:
        if request.param == "system":
            server = running.enter_context(running_postgres(system_installation(), server_certificate))
            yield EncryptedPostgres(server, server.port)
        else:
            server = running.enter_context(running_postgres(pypi_installation()))
            proxy = tls_in_front_of(server.port, server_certificate, postgres=True)
            yield EncryptedPostgres(server, running.enter_context(proxy))


def _refusal(url: str) -> str:
    """The sentence with which opening the ledger of the settings fails."""
    settings = LedgerSettings(ledger_url=url)
    with pytest.raises(Unavailable) as refused:
        Ledger.open(settings.ledger_url)
    return refused.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_ledger_is_kept_over_tls(
    encrypted: EncryptedPostgres, authority: CertificateAuthority, host: str
) -> None:
    settings = LedgerSettings(ledger_url=encrypted.url(authority.certificate, host=host))
    with Ledger.open(settings.ledger_url) as ledger:
        attribution_id = record(ledger, "through TLS")
        assert ledger.attribution(attribution_id).prompt == "through TLS"
        assert ledger.verify_chain().intact
        with ledger._store.transaction() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            assert driver.pgconn.ssl_in_use
            if encrypted.port == encrypted.server.port:
                query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                assert connection.execute(text(query)).scalar_one() is True


def test_a_server_of_another_authority_is_refused_in_one_sentence_without_the_password(
    encrypted: EncryptedPostgres, tmp_path: Path
) -> None:
    stranger = CertificateAuthority(tmp_path / "another", name="another authority")
    message = _refusal(encrypted.url(stranger.certificate))
    assert "certificate verify failed" in message
    assert message.endswith("CREDITLINE_LEDGER_URL")
    assert "\n" not in message
    assert _PASSWORD not in message


def test_a_certificate_for_another_host_is_refused(
    encrypted: EncryptedPostgres, authority: CertificateAuthority
) -> None:
    elsewhere = authority.issue("elsewhere.example", name="postgres-elsewhere")
    with tls_in_front_of(encrypted.server.port, elsewhere, postgres=True) as port:
        message = _refusal(EncryptedPostgres(encrypted.server, port).url(authority.certificate))
    assert 'certificate for "elsewhere.example"' in message
    assert 'does not match host name "127.0.0.1"' in message
    assert message.endswith("CREDITLINE_LEDGER_URL")
    assert "\n" not in message
    assert _PASSWORD not in message


def test_a_missing_file_of_authorities_is_named(encrypted: EncryptedPostgres, tmp_path: Path) -> None:
    message = _refusal(encrypted.url(tmp_path / "gone.crt"))
    assert f'root certificate file "{tmp_path}/gone.crt" does not exist' in message
    assert message.endswith("CREDITLINE_LEDGER_URL")
    assert "\n" not in message
    assert _PASSWORD not in message


def test_a_server_without_tls_is_refused(
    encrypted: EncryptedPostgres, postgres: PostgresServer, authority: CertificateAuthority
) -> None:
    message = _refusal(EncryptedPostgres(postgres, postgres.port).url(authority.certificate))
    assert "server does not support SSL, but SSL was required" in message
    assert "\n" not in message
    assert _PASSWORD not in message


def test_the_password_may_be_in_a_file_beside_tls(
    encrypted: EncryptedPostgres, authority: CertificateAuthority, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(_PASSWORD + "\n")
    url = make_url(encrypted.url(authority.certificate)).set(password=None)
    with_file = url.update_query_dict({"password_file": str(file)})
    with Ledger.open(with_file.render_as_string(hide_password=False)) as ledger:
        assert ledger.attribution(record(ledger)).id
