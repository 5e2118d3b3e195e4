"""Keys that change while the gateway runs: those of the ledger, and those of a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from creditline.errors import InvalidInput, NotReady, ResourceExhausted, Unauthenticated, Unavailable
from creditline.files import replace_file
from creditline.gateway.access.keys import ApiKeys
from creditline.gateway.access.ledger_keys import STALE_AFTER_SECONDS, LedgerKeys
from creditline.gateway.access.static_keys import StaticKeys
from creditline.ledger import IssuedKey, Ledger, Scope
from creditline.release import Release
from tests.gateway.conftest import RunningGateway, gateway_settings, running_gateway

# A change takes effect within this time, as the README states.
_STATED_SECONDS = 3.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Iterator[RunningGateway]:
    """A gateway whose file of keys holds `filed`."""
    directory = tmp_path_factory.mktemp("followed")
    (directory / "keys").write_text("# for the office\n\nfiled\n")
    settings = gateway_settings(directory, release, api_keys_file=directory / "keys")
    with running_gateway(settings) as running:
        yield running


def _status(gateway: RunningGateway, key: str) -> int:
    with gateway.http(headers={"Authorization": f"Bearer {key}"}) as http:
        return http.get("/v1/releases/live").status_code


def _seconds_until(gateway: RunningGateway, key: str, status: int) -> float:
    started = time.monotonic()
    while _status(gateway, key) != status:
        assert time.monotonic() - started < 30, f"status {status} did not come"
        time.sleep(0.05)
    return time.monotonic() - started


def test_a_key_of_the_ledger_works_at_once_and_until_it_is_revoked(gateway: RunningGateway) -> None:
    with Ledger.open(gateway.settings.ledger_url) as ledger:
        issued = ledger.keys.create("museum", [Scope.READ])
        assert _seconds_until(gateway, issued.text, 200) < _STATED_SECONDS
        with gateway.client(api_key=issued.text) as client:
            assert client.release().release.name == "gateway-test"
            ledger.keys.revoke(issued.record.id)
            assert _seconds_until(gateway, issued.text, 401) < _STATED_SECONDS
            with pytest.raises(Unauthenticated, match=f"API key {issued.record.id} is revoked since"):
                client.release()


def test_a_file_of_keys_is_read_again(gateway: RunningGateway) -> None:
    file = gateway.settings.api_keys_file
    assert file is not None
    assert (_status(gateway, "filed"), _status(gateway, "# for the office")) == (200, 401)
    with replace_file(file) as draft:
        draft.write_text("filed\nnew\n")
    assert _seconds_until(gateway, "new", 200) < _STATED_SECONDS
    assert _status(gateway, "filed") == 200
    file.unlink()
    assert _seconds_until(gateway, "filed", 401) < _STATED_SECONDS
    file.write_text("filed\n")
    assert _seconds_until(gateway, "filed", 200) < _STATED_SECONDS


def test_requests_are_counted_by_the_id_of_the_key(gateway: RunningGateway) -> None:
    with Ledger.open(gateway.settings.ledger_url) as ledger:
        issued = ledger.keys.create("museum", [Scope.READ])
    _seconds_until(gateway, issued.text, 200)
    with gateway.http() as http:
        exposition = http.get("/metrics").text
    assert f'creditline_gateway_key_requests_total{{key="{issued.record.id}"}} 1.0' in exposition
    assert issued.text not in exposition


def test_the_last_use_is_recorded_when_the_gateway_stops(tmp_path: Path, release: Release) -> None:
    settings = gateway_settings(tmp_path, release)
    with Ledger.open(settings.ledger_url) as ledger:
        used, idle = (ledger.keys.create("museum", [Scope.READ]) for _ in range(2))
        with running_gateway(settings) as running:
            assert _status(running, used.text) == 200
            before = ledger.keys.all()
        after = {key.id: key.last_used for key in ledger.keys.all()}
    assert [key.last_used for key in before] == [None, None]
    moment = after[used.record.id]
    assert moment is not None
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert after[idle.record.id] is None


def test_a_storm_of_forged_keys_costs_few_reads_of_the_ledger(ledger: Ledger) -> None:
    keys = LedgerKeys(ledger.keys)
    reads = 0

    class Counted(LedgerKeys):
        def refresh(self) -> None:
            nonlocal reads
            reads += 1
            keys.refresh()

    async def storm() -> int:
        accepted = ApiKeys(StaticKeys(["right"]), Counted(ledger.keys))
        started = time.monotonic()
        refused = 0
        while time.monotonic() - started < 0.5:
            forged = f"Bearer clk_{refused:016x}_{'0' * 64}"
            with pytest.raises((Unauthenticated, ResourceExhausted)):
                await accepted.authenticate([forged], address="")
            refused += 1
        return refused

    assert asyncio.run(storm()) > 50
    assert 1 <= reads <= 3


class _Movable:
    """Monotonic seconds and a clock that tests advance."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def clock(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


def _read(ledger: Ledger) -> tuple[LedgerKeys, _Movable]:
    time_ = _Movable()
    keys = LedgerKeys(ledger.keys, time_.clock, time_.monotonic)
    keys.refresh()
    return keys, time_


def _issued(ledger: Ledger, **options: timedelta) -> IssuedKey:
    return ledger.keys.create("museum", [Scope.READ], **options)


def test_an_expired_key_is_refused_without_the_ledger_being_read(ledger: Ledger) -> None:
    issued = _issued(ledger, expires_in=timedelta(seconds=60))
    keys, time_ = _read(ledger)
    assert keys.caller_with(issued.text) is not None
    time_.seconds = 61.0
    with pytest.raises(Unauthenticated, match="is expired since"):
        keys.caller_with(issued.text)


def test_a_rotated_key_names_its_successor_when_it_has_ended(ledger: Ledger) -> None:
    old = _issued(ledger)
    new = ledger.keys.rotate(old.record.id, overlap=timedelta(seconds=60))
    keys, time_ = _read(ledger)
    assert keys.caller_with(old.text) == keys.caller_with(old.text)
    assert keys.caller_with(new.text) is not None
    time_.seconds = 61.0
    with pytest.raises(Unauthenticated, match=new.record.id):
        keys.caller_with(old.text)
    assert keys.caller_with(new.text) is not None


def test_keys_are_not_accepted_for_ever_when_the_ledger_cannot_be_read(ledger: Ledger) -> None:
    issued = _issued(ledger)
    keys, time_ = _read(ledger)
    time_.seconds = STALE_AFTER_SECONDS
    assert keys.caller_with(issued.text) is not None
    time_.seconds += 1.0
    with pytest.raises(Unavailable, match="revoked") as refused:
        keys.caller_with(issued.text)
    assert refused.value.service == "ledger"
    keys.refresh()
    assert keys.caller_with(issued.text) is not None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"k\n" * (1 << 20)])
def test_a_file_that_is_no_list_of_keys_stops_the_start_and_not_a_running_gateway(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "keys"
    with pytest.raises(NotReady, match="CREDITLINE_API_KEYS_FILE"):
        StaticKeys([], file)
    file.write_bytes(content)
    with pytest.raises(InvalidInput):
        StaticKeys([], file)
    file.write_text("right")
    keys = StaticKeys([], file)
    file.write_bytes(content)
    keys.refresh()
    assert keys.caller_with("right") is not None
