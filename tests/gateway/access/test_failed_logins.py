"""Wrong keys are slowed down per address, and nobody else's are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from creditline.errors import ResourceExhausted, Unauthenticated
from creditline.gateway.access.failed_logins import BURST, INTERVAL_SECONDS, FailedLogins, network_of
from creditline.gateway.access.keys import ApiKeys
from creditline.gateway.access.ledger_keys import LedgerKeys
from creditline.gateway.access.static_keys import StaticKeys
from creditline.ledger import Ledger, Scope
from creditline.release import Release
from tests.gateway.conftest import RunningGateway, gateway_settings, running_gateway


@pytest.fixture
def gateway(tmp_path: Path, release: Release) -> Iterator[RunningGateway]:
    with running_gateway(gateway_settings(tmp_path, release, api_keys="right")) as running:
        yield running


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("ipv4:192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("ipv6:[2001:db8::1]:4711", "2001:db8::/64"),
        ("ipv6:%5B2001:db8::2%5D:4711", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("unix:", ""),
        ("", ""),
    ],
)
def test_an_address_counts_for_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_wrong_keys_are_regained_with_time_and_no_further_than_at_first() -> None:
    now = [0.0]
    failed = FailedLogins(lambda: now[0])
    for _ in range(BURST):
        assert failed.wait_seconds("192.0.2.1") == 0.0
        failed.count("192.0.2.1")
    assert failed.wait_seconds("192.0.2.1") == INTERVAL_SECONDS
    assert failed.wait_seconds("192.0.2.2") == 0.0
    now[0] = 0.75 * INTERVAL_SECONDS
    assert failed.wait_seconds("192.0.2.1") == pytest.approx(0.25 * INTERVAL_SECONDS)
    now[0] = 1_000 * BURST * INTERVAL_SECONDS
    for _ in range(BURST):
        failed.count("192.0.2.1")
    assert failed.wait_seconds("192.0.2.1") == INTERVAL_SECONDS


def test_a_guesser_is_refused_even_with_the_right_guess_and_a_key_of_the_ledger_is_not(
    tmp_path: Path,
) -> None:
    async def guess(ledger: Ledger, key: str) -> None:
        now = [0.0]
        keys = ApiKeys(
            StaticKeys(["right"]), LedgerKeys(ledger.keys), failed_logins=FailedLogins(lambda: now[0])
        )
        keys.load()
        guesser = "ipv4:192.0.2.1:4711"
        for number in range(BURST):
            with pytest.raises(Unauthenticated):
                await keys.authenticate([f"Bearer {number}"], address=guesser)
        with pytest.raises(ResourceExhausted, match="too many wrong API keys") as refused:
            await keys.authenticate(["Bearer right"], address="192.0.2.1")
        assert refused.value.retry_after_seconds == INTERVAL_SECONDS
        assert (await keys.authenticate([f"Bearer {key}"], address=guesser)).owner == "museum"
        assert (await keys.authenticate(["Bearer right"], address="192.0.2.2")).is_admin
        now[0] = INTERVAL_SECONDS
        assert (await keys.authenticate(["Bearer right"], address=guesser)).is_admin

    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        asyncio.run(guess(ledger, ledger.keys.create("museum", [Scope.READ]).text))


def test_both_faces_count_for_one_address_and_say_when_to_come_back(gateway: RunningGateway) -> None:
    with gateway.http(headers={"Authorization": "Bearer wrong"}) as http:
        answers = [http.get("/v1/releases/live") for _ in range(2 * BURST)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:BURST] == [401] * BURST
    assert statuses[-1] == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    with (
        gateway.client(api_key="wrong") as client,
        pytest.raises(ResourceExhausted, match="too many wrong API keys") as refused,
    ):
        client.release()
    assert 0.0 < (refused.value.retry_after_seconds or 0.0) <= INTERVAL_SECONDS
    with gateway.http() as http:
        assert http.get("/v1/releases/live").status_code == 401
        assert http.get("/healthz").status_code == 200
