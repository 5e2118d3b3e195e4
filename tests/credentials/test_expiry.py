"""The metric of when certificates expire: of each file, as it is now."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.engine import make_url

from creditline.credentials.expiry import expose_expiry
from creditline.credentials.tls_files import TlsFiles
from creditline.jobs.settings import BrokerSettings
from creditline.ledger import LedgerSettings
from tests.real_parts.certificates import CertificateAuthority

_METRIC = "creditline_certificate_expiry_timestamp_seconds"
_DAY = 86_400.0


def _days(registry: CollectorRegistry, connection: str, file: str) -> float | None:
    """Days until the end that the metric states."""
    found = registry.get_sample_value(_METRIC, {"connection": connection, "file": file})
    return None if found is None else round((found - time.time()) / _DAY, 1)


def test_each_file_has_its_end_and_a_new_one_when_it_is_replaced(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path, life=timedelta(days=30))
    issued = authority.issue()
    registry = CollectorRegistry()
    files = TlsFiles(issued.certificate, issued.key, authority.certificate)
    expose_expiry(
        registry, {"gateway": files, "embedder": TlsFiles(ca=authority.certificate), "qdrant": None}
    )
    assert _days(registry, "gateway", "certificate") == 1.0
    assert _days(registry, "gateway", "authorities") == 30.0
    assert _days(registry, "embedder", "authorities") == 30.0
    assert _days(registry, "embedder", "certificate") is None
    CertificateAuthority(tmp_path, life=timedelta(days=60))
    assert _days(registry, "gateway", "authorities") == 60.0
    authority.certificate.write_text("half a fi")
    assert _days(registry, "gateway", "authorities") == 60.0
    authority.certificate.unlink()
    assert _days(registry, "gateway", "authorities") == 60.0


def test_of_a_connection_that_keeps_its_files_the_end_of_those_in_use_stays(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path, life=timedelta(days=30))
    registry = CollectorRegistry()
    late = TlsFiles(ca=tmp_path / "not yet there.crt")
    files = TlsFiles(ca=authority.certificate)
    expose_expiry(registry, {"qdrant": files, "ledger": files, "redis": late}, kept=("qdrant", "redis"))
    CertificateAuthority(tmp_path, life=timedelta(days=60))
    assert _days(registry, "qdrant", "authorities") == 30.0
    assert _days(registry, "ledger", "authorities") == 60.0
    assert _days(registry, "redis", "authorities") is None
    authority.certificate.rename(tmp_path / "not yet there.crt")
    assert _days(registry, "redis", "authorities") == 60.0


def test_of_a_chain_the_first_end_counts_and_of_authorities_the_last(tmp_path: Path) -> None:
    long, short = (
        CertificateAuthority(tmp_path / str(days), life=timedelta(days=days)).certificate.read_text()
        for days in (90, 10)
    )
    both = tmp_path / "both.pem"
    both.write_text(long + short)
    registry = CollectorRegistry()
    expose_expiry(registry, {"gateway": TlsFiles(both, both, both)})
    assert _days(registry, "gateway", "certificate") == 10.0
    assert _days(registry, "gateway", "authorities") == 90.0


def test_files_in_the_urls_of_ledger_and_redis_are_found(tmp_path: Path) -> None:
    ca, cert, key = (tmp_path / name for name in ("ca.crt", "a b.crt", "tls.key"))
    ledger = LedgerSettings(
        ledger_url=f"postgresql+psycopg://u@h/n?sslmode=verify-full&sslrootcert={ca}&sslcert={tmp_path}/a%20b.crt"
        f"&sslkey={key}"
    )
    redis = BrokerSettings(broker_url=f"rediss://:p%40w@h:6379/0?ssl_cert_reqs=required&ssl_ca_certs={ca}")
    assert ledger.tls_to_ledger == TlsFiles(cert, key, ca)
    assert redis.tls_to_broker == TlsFiles(ca=ca)
    assert LedgerSettings(ledger_url="sqlite:///ledger.db").tls_to_ledger is None
    assert BrokerSettings(broker_url="redis://h/0").tls_to_broker is None


@pytest.mark.parametrize("password", ["p[w", "p#w", "p?w", "p/w"])
def test_a_password_that_sqlalchemy_takes_hides_no_file(tmp_path: Path, password: str) -> None:
    url = f"postgresql+psycopg://u:{password}@h/n"
    assert make_url(url).password == password
    assert LedgerSettings(ledger_url=url).tls_to_ledger is None
    ledger = LedgerSettings(ledger_url=f"{url}?sslmode=verify-full&sslrootcert={tmp_path}/ca.crt")
    assert ledger.tls_to_ledger == TlsFiles(ca=tmp_path / "ca.crt")
