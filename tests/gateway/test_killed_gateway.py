"""A gateway that is killed after it recorded an answer: another one marks what nobody confirmed."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from creditline.ledger import Ledger
from tests.benchmarks.load.gateway_process import API_KEY, GatewayProcess, gateway_process
from tests.gateway.conftest import running_gateway
from tests.gateway.served import Served
from tests.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
_LONG_AGO = "2020-01-01 00:00:00.000000"
_SECONDS = 60.0


@pytest.fixture
def process(served: Served, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway process with a ledger of its own, that answers by the services of `served`."""
    settings = served.settings
    environment = {
        "CREDITLINE_RELEASE_DIRECTORY": str(settings.release_directory),
        "CREDITLINE_CORPUS_FILE": str(settings.corpus_file),
        "CREDITLINE_EMBEDDER_TARGET": settings.embedder_target,
        "CREDITLINE_QDRANT_GRPC_PORT": str(settings.qdrant_grpc_port),
    }
    with gateway_process(tmp_path, environment=environment) as running:
        yield running


def _ask(process: GatewayProcess, picture: bytes) -> int:
    url = f"http://127.0.0.1:{process.ports.gateway_http}/v1/attributions"
    key = {"authorization": f"Bearer {API_KEY}"}
    with httpx.Client(trust_env=False, timeout=_SECONDS, headers=key) as http:
        return http.post(url, files={"image": picture}, data={"prompt": "a red kite"}).status_code


def _ask_until_it_ends(process: GatewayProcess, picture: bytes) -> None:
    try:
        while True:
            _ask(process, picture)
    except httpx.HTTPError:
        return


def _unconfirmed(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT attribution_id FROM unconfirmed")}


def _kill_before_it_confirms(process: GatewayProcess, connection: sqlite3.Connection) -> set[str]:
    """Kill the gateway while an answer is unconfirmed; gives the ids of all these."""
    limit = time.monotonic() + _SECONDS
    while time.monotonic() < limit:
        # Nothing is confirmed while the test may write.
        connection.execute("BEGIN IMMEDIATE")
        if found := _unconfirmed(connection):
            os.kill(process.pid, signal.SIGKILL)
        connection.execute("COMMIT")
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("no answer was unconfirmed")


def test_answers_of_a_gateway_that_was_killed_are_marked_by_another(
    served: Served, process: GatewayProcess, tmp_path: Path
) -> None:
    picture, path = served.corpus.works[0].thumbnail, tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=_SECONDS)) as connection:
        assert _ask(process, picture) == 200
        (delivered,) = (row[0] for row in connection.execute("SELECT id FROM attributions"))
        wait_until(lambda: _unconfirmed(connection) == set(), "the delivery is confirmed")
        with ThreadPoolExecutor(1) as caller:
            asking = caller.submit(_ask_until_it_ends, process, picture)
            killed = _kill_before_it_confirms(process, connection)
            asking.result()
        connection.execute("UPDATE unconfirmed SET created = ?", (_LONG_AGO,))
        url = f"sqlite:///{path}"
        with (
            running_gateway(served.settings.model_copy(update={"ledger_url": url})) as other,
            other.http() as http,
        ):

            def undelivered() -> set[str]:
                listed = http.get("/v1/attributions", params={"page_size": 1000}).json()["attributions"]
                return {each["id"] for each in listed if each["undelivered"]}

            wait_until(lambda: undelivered() == killed, "the other gateway marks them")
            assert http.get(f"/v1/attributions/{delivered}").json()["undelivered"] is False
        assert _unconfirmed(connection) == set()
    with Ledger.open(url) as ledger:
        assert ledger.verify_chain().intact
