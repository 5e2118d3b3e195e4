"""Jobs in a Redis that crashes with persistence, and in one whose memory is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from creditline.credentials.following import CHECK_SECONDS
from creditline.gateway.access.caller import Caller
from creditline.gateway.access.key_limits import KeyLimits
from creditline.gateway.broker import Broker
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.outbox import OutboxPublisher
from creditline.jobs.settings import BrokerSettings
from creditline.ledger import Allowance, Ledger
from tests.ledger.conftest import record
from tests.real_parts.ports import wait_until
from tests.real_parts.redis_server import KEPT, RedisServer

_FULL = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction", "--save", "")
_FILLER = "filler"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


def _fill(client: redis.Redis) -> None:
    """Append to one value until Redis rejects more data."""
    for _ in range(1_000):
        try:
            client.append(_FILLER, b"x" * 65_536)
        except redis.exceptions.OutOfMemoryError:
            return
    raise AssertionError("Redis took 64 MiB although its memory is limited")


def test_jobs_of_a_redis_with_persistence_outlive_its_crash(
    start_redis: Callable[..., RedisServer], ledger: Ledger
) -> None:
    server = start_redis(*KEPT)
    for number in range(3):
        record(ledger, f"prompt {number}", with_audit=True)
    broker = Broker(server.url)
    assert OutboxPublisher(ledger, broker, GatewayMetrics()).publish_waiting() == 3
    broker.close()
    server.kill()
    server.start()
    assert server.queued() == 3
    assert ledger.unpublished(10) == (), "the ledger would not have sent them again so soon"


def test_a_job_that_a_full_redis_rejects_waits_in_the_outbox_and_is_published_once_memory_is_free(
    start_redis: Callable[..., RedisServer], ledger: Ledger
) -> None:
    server = start_redis(*_FULL)
    attribution_id = record(ledger, with_audit=True)
    metrics, broker = GatewayMetrics(), Broker(server.url)
    publisher = OutboxPublisher(ledger, broker, metrics)

    async def publish() -> None:
        running = asyncio.create_task(publisher.run())
        await asyncio.to_thread(wait_until, "it was tried", lambda: _refused(server) > refused)
        assert server.queued() == 0
        assert [entry.payload["attribution_id"] for entry in ledger.unpublished(10)] == [attribution_id]
        assert not running.done()
        client.delete(_FILLER)
        publisher.wake()
        await asyncio.to_thread(wait_until, "it went out", lambda: server.queued() == 1)
        await asyncio.to_thread(wait_until, "it is noted", lambda: ledger.unpublished(10) == ())
        running.cancel()

    with server.client() as client:
        _fill(client)
        refused = _refused(server)
        asyncio.run(publish())
    broker.close()
    assert server.queued() == 1


def test_a_gateway_follows_the_file_with_the_url_of_its_redis(
    start_redis: Callable[..., RedisServer], tmp_path: Path, ledger: Ledger
) -> None:
    first, second = start_redis(), start_redis()
    file = tmp_path / "broker-url"
    file.write_text(first.url)
    urls = BrokerSettings(broker_url_file=file).broker_urls()
    attribution_id = record(ledger, with_audit=True)
    (job,) = ledger.unpublished(10)
    caller = Caller("a" * 16, "museum", frozenset(), Allowance.parse("10/s"))
    assert job.payload["attribution_id"] == attribution_id

    async def charge(limits: KeyLimits) -> None:
        await limits.charge(caller, attributions=1)
        file.write_text("amqp://nothing/that/is/a/redis")
        await asyncio.sleep(CHECK_SECONDS)
        await limits.charge(caller, attributions=1)
        file.write_text(second.url)
        await asyncio.sleep(CHECK_SECONDS)
        await limits.charge(caller, attributions=1)
        await limits.close()

    broker = Broker(urls)
    broker.send(job)
    local: list[bool] = []
    asyncio.run(charge(KeyLimits(urls, answer_seconds=10.0, on_local=local.append)))
    broker.send(job)
    broker.ping()
    broker.close()
    assert local == []
    assert (first.queued(), second.queued()) == (1, 1)
    with first.client() as one, second.client() as other:
        assert [len(client.keys("creditline:limits:*")) for client in (one, other)] == [1, 1]


def _refused(server: RedisServer) -> int:
    """Number of commands that Redis has rejected for lack of memory since it started."""
    with server.client() as client:
        failures = client.info("errorstats").get("errorstat_OOM", {})  # type: ignore[union-attr]
    return int(failures.get("count", 0))
