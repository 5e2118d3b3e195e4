"""Jobs over a real Redis: publishers and workers agree on queues, format and addresses."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from creditline.errors import InvalidInput, Unavailable
from creditline.gateway.broker import Broker
from creditline.gateway.settings import GatewaySettings
from creditline.jobs.broker import ping_broker
from creditline.jobs.celery_app import publisher_app, worker_app
from creditline.jobs.tasks import AUDIT_TASK, INGEST_TASK, LABEL_TASK, QUEUE_OF_TASK
from creditline.ledger import OutboxEntry
from creditline.local.services import StackPorts, redis_executable
from creditline.settings import read_settings
from creditline.teacher.settings import TeacherSettings
from tests.real_parts.redis_server import RedisServer

_START_SECONDS = 30.0
_PASSWORD = "5f0c"
# One byte: every command that stores something is refused.
_FULL = ("--maxmemory", "1", "--maxmemory-policy", "noeviction", "--save", "")


@dataclass(frozen=True)
class Redis:
    """A Redis with a password, at a port and at a socket in the file system."""

    port: int
    socket: Path

    @property
    def urls(self) -> dict[str, str]:
        """Its addresses as Celery writes them."""
        return {
            "tcp": f"redis://:{_PASSWORD}@127.0.0.1:{self.port}/0",
            "socket": f"redis+socket://:{_PASSWORD}@{self.socket}",
        }

    def client(self) -> redis.Redis:
        """Redis's own client."""
        return redis.Redis(port=self.port, password=_PASSWORD)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    directory, port = tmp_path_factory.mktemp("redis"), StackPorts.free().redis
    started = Redis(port, directory / "redis.sock")
    where = ("--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(started.socket))
    options = ("--requirepass", _PASSWORD, "--save", "", "--dir", str(directory))
    process = subprocess.Popen([redis_executable(), *where, *options], stdout=subprocess.DEVNULL)
    try:
        _await(started)
        yield started
    finally:
        process.terminate()
        process.wait(30)


def _await(server: Redis) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.client().ping()
            return
        except redis.ConnectionError:
            assert time.monotonic() < until, "Redis did not start"
            time.sleep(0.02)


@pytest.fixture
def queues(server: Redis) -> redis.Redis:
    """The server's lists, empty at first."""
    client = server.client()
    client.flushall()
    return client


@pytest.mark.parametrize("task", [AUDIT_TASK, LABEL_TASK, INGEST_TASK])
def test_the_gateway_and_the_command_line_send_a_job_to_the_same_queue(
    server: Redis, queues: redis.Redis, task: str
) -> None:
    url = server.urls["tcp"]
    entry = OutboxEntry(id=1, audit_id="one", task=task, payload={"attribution_id": "a"})
    Broker(url).send(entry)
    worker_app(url).send_task(task, kwargs={"attribution_id": "b"})
    assert queues.llen(QUEUE_OF_TASK[task]) == 2


def test_publishers_and_workers_write_and_accept_json_only(server: Redis) -> None:
    for app in (publisher_app(server.urls["tcp"]), worker_app(server.urls["tcp"])):
        assert set(app.conf.accept_content) == {"json"}
        assert set(app.conf.result_accept_content) == {"json"}
        assert (app.conf.task_serializer, app.conf.result_serializer) == ("json", "json")
        assert app.conf.task_acks_late


@pytest.mark.parametrize("kind", ["tcp", "socket"])
def test_an_address_that_the_gateway_takes_serves_the_worker_too(
    server: Redis, queues: redis.Redis, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("CREDITLINE_BROKER_URL", server.urls[kind])
    assert read_settings(GatewaySettings).broker_url == read_settings(TeacherSettings).broker_url
    ping_broker(read_settings(TeacherSettings).broker_url)
    app = worker_app(read_settings(TeacherSettings).broker_url)
    result = app.send_task(LABEL_TASK, kwargs={})
    app.backend.store_result(result.id, {"parts": 1}, "SUCCESS")
    assert queues.llen(QUEUE_OF_TASK[LABEL_TASK]) == 1
    assert result.get(timeout=10) == {"parts": 1}


@pytest.mark.parametrize("settings", [GatewaySettings, TeacherSettings])
def test_another_broker_is_refused_by_its_setting(
    monkeypatch: pytest.MonkeyPatch, settings: type[GatewaySettings] | type[TeacherSettings]
) -> None:
    monkeypatch.setenv("CREDITLINE_BROKER_URL", "amqp://there")
    with pytest.raises(InvalidInput, match=r"^CREDITLINE_BROKER_URL is 'amqp://there': [^\n]*redis://"):
        read_settings(settings)


def test_a_check_of_the_broker_leaves_no_connection_behind(server: Redis, queues: redis.Redis) -> None:
    before = len(queues.client_list())
    for _ in range(10):
        ping_broker(server.urls["tcp"])
    until = time.monotonic() + _START_SECONDS
    while len(queues.client_list()) > before:
        assert time.monotonic() < until, queues.client_list()
        time.sleep(0.02)


def test_a_wrong_password_is_reported_without_showing_it(server: Redis) -> None:
    with pytest.raises(Unavailable, match=r"Redis does not answer at redis://127\.0\.0\.1") as refused:
        ping_broker(f"redis://:wrong-one@127.0.0.1:{server.port}/0")
    assert "wrong-one" not in refused.value.message
    assert refused.value.service == "redis"


def test_a_job_that_a_full_redis_refuses_is_reported_as_out_of_memory(
    start_redis: Callable[..., RedisServer],
) -> None:
    full = start_redis(*_FULL)
    job = OutboxEntry(id=1, audit_id="one", task=AUDIT_TASK, payload={"attribution_id": "a"})
    sentence = rf"^Redis at redis://127\.0\.0\.1:{full.port}/0 is out of memory [^\n]*raise its maxmemory"
    with pytest.raises(Unavailable, match=sentence) as refused:
        Broker(full.url).send(job)
    assert "LLEN" not in refused.value.message
    assert refused.value.service == "redis"
