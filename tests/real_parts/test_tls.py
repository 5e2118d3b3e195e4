"""Jobs go to a Redis behind TLS, and to no server with a certificate of another authority.

The gateway's and the embedder's own TLS is tested beside them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from creditline.errors import Unavailable
from creditline.gateway.access.caller import Caller
from creditline.gateway.access.key_limits import KeyLimits
from creditline.gateway.broker import Broker
from creditline.jobs.broker import ping_broker
from creditline.ledger import Allowance, OutboxEntry
from tests.real_parts.certificates import CertificateAuthority, ServerCertificate
from tests.real_parts.redis_server import RedisServer
from tests.real_parts.tls_proxy import tls_in_front_of

_JOB = OutboxEntry(1, "a" * 32, "creditline.audit", {"attribution_id": "b" * 32})


@dataclass(frozen=True)
class EncryptedRedis:
    """A Redis, and the port on which its TLS-terminating proxy listens."""

    redis: RedisServer
    port: int

    def url(self, authority: Path) -> str:
        """The broker's URL for a client that trusts one authority."""
        return f"rediss://127.0.0.1:{self.port}/0?ssl_cert_reqs=required&ssl_ca_certs={authority}"


@pytest.fixture
def encrypted(
    start_redis: Callable[..., RedisServer], server_certificate: ServerCertificate
) -> Iterator[EncryptedRedis]:
    redis = start_redis()
    with tls_in_front_of(redis.port, server_certificate) as port:
        yield EncryptedRedis(redis, port)


def _sent(url: str) -> None:
    broker = Broker(url)
    try:
        broker.send(_JOB)
    finally:
        broker.close()


def test_a_job_reaches_redis_through_tls(encrypted: EncryptedRedis, authority: CertificateAuthority) -> None:
    url = encrypted.url(authority.certificate)
    ping_broker(url)
    _sent(url)
    assert encrypted.redis.queued() == 1


def test_a_server_with_a_certificate_of_another_authority_gets_no_job(
    encrypted: EncryptedRedis, tmp_path: Path
) -> None:
    url = encrypted.url(CertificateAuthority(tmp_path / "another", name="another authority").certificate)
    with pytest.raises(Unavailable, match=r"(?i)certificate verify failed"):
        ping_broker(url)
    with pytest.raises(Unavailable, match=r"(?i)certificate verify failed"):
        _sent(url)
    assert encrypted.redis.queued() == 0


def test_a_server_with_a_certificate_for_another_host_gets_no_job(
    start_redis: Callable[..., RedisServer], authority: CertificateAuthority
) -> None:
    redis, elsewhere = start_redis(), authority.issue("elsewhere.example", name="redis-elsewhere")
    with tls_in_front_of(redis.port, elsewhere) as port:
        url = EncryptedRedis(redis, port).url(authority.certificate)
        with pytest.raises(Unavailable, match=r"(?i)certificate verify failed"):
            ping_broker(url)


def test_rates_of_keys_are_counted_through_tls_or_not_in_redis_at_all(
    encrypted: EncryptedRedis, authority: CertificateAuthority, tmp_path: Path
) -> None:
    stranger = CertificateAuthority(tmp_path / "another", name="another authority")
    caller = Caller("a" * 16, "museum", frozenset(), Allowance.parse("10/s"))

    async def charge(trusted: Path) -> list[bool]:
        local: list[bool] = []
        limits = KeyLimits(encrypted.url(trusted), answer_seconds=10.0, on_local=local.append)
        await limits.charge(caller, attributions=1)
        await limits.close()
        return local

    assert asyncio.run(charge(stranger.certificate)) == [True]
    with encrypted.redis.client() as client:
        assert client.dbsize() == 0
        assert asyncio.run(charge(authority.certificate)) == []
        assert client.dbsize() == 1


def test_a_client_without_tls_gets_no_answer(encrypted: EncryptedRedis) -> None:
    with pytest.raises(Unavailable, match="Redis does not answer"):
        ping_broker(f"redis://127.0.0.1:{encrypted.port}/0")
    assert encrypted.redis.queued() == 0
