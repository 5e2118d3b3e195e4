"""The benchmark of keyless callers, in small: its requests are hostile, and its gateway is a real process."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.load.gateway_process import gateway_process
from tests.benchmarks.load.keyless import call_over_grpc, call_over_http, hostile_requests, send_hostile


def test_requests_are_the_same_for_one_seed_and_hardly_two_are_alike() -> None:
    made = list(hostile_requests(200, seed=1))
    assert made == list(hostile_requests(200, seed=1))
    assert len(set(made)) == 200


def test_a_real_gateway_refuses_all_of_them_and_makes_no_series(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as gateway:
        before = gateway.series()
        statuses = send_hostile(gateway, 100)
        assert {"401", "404", "405", "UNAUTHENTICATED", "UNIMPLEMENTED"} <= set(statuses)
        assert not any(status.startswith("5") for status in statuses if status != "503")
        assert gateway.series() == before
        assert call_over_grpc(gateway, 1_000_000) == "UNAUTHENTICATED"
        assert call_over_http(gateway, 1_000_000) == "401"
        assert call_over_http(gateway, 1_000_000, chunked=True) == "401"
    assert "Traceback" not in (tmp_path / "gateway.log").read_text()
