"""Keys with rates and quotas at a whole gateway: both faces refuse alike, and before a body is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2

from creditline.api.error_metadata import STATUS_KEY, read_retry_seconds
from creditline.client.options import NO_RETRIES
from creditline.errors import InvalidInput, QuotaExceeded, RateExceeded
from creditline.ledger import Allowance, Ledger, Scope
from creditline.release import Release
from creditline.v1.attribution_pb2 import AttributeRequest, BatchAttributeRequest, StreamAttributeRequest
from creditline.v1.attribution_pb2_grpc import AttributionStub
from creditline.v1.release_pb2 import GetReleaseRequest
from creditline.v1.release_pb2_grpc import ReleasesStub
from tests.gateway.conftest import GENERATOR, RunningGateway, gateway_settings, running_gateway
from tests.real_parts.redis_server import RedisServer

# Long times, so that nothing is regained while a test runs.
_RATE, _QUOTA = Allowance.parse("3/h"), Allowance.parse("2/d")


def _keys(ledger_url: str) -> tuple[str, str, str]:
    """A key with a rate, one with a quota, and one with neither."""
    with Ledger.open(ledger_url) as ledger:
        rated, paid, plain = (
            ledger.keys.create("museum", [Scope.ATTRIBUTE, Scope.READ], rate=rate, quota=quota).text
            for rate, quota in ((_RATE, None), (None, _QUOTA), (None, None))
        )
    return rated, paid, plain


def _refusals(gateway: RunningGateway, protocol: str, reason: str) -> float:
    series = f'creditline_gateway_refusals_total{{protocol="{protocol}",reason="{reason}"}} '
    with gateway.http() as http:
        lines = http.get("/metrics").text.splitlines()
    return next(float(line.removeprefix(series)) for line in lines if line.startswith(series))


def test_a_rate_is_refused_alike_by_both_faces_with_the_time_to_wait(
    tmp_path: Path, release: Release, start_redis: Callable[..., RedisServer]
) -> None:
    settings = gateway_settings(tmp_path, release, broker_url=start_redis().url, key_limits_seconds=10)
    rated, paid, plain = _keys(settings.ledger_url)
    with running_gateway(settings) as gateway:
        headers = [{"Authorization": f"Bearer {key}"} for key in (rated, paid, plain)]
        with gateway.http() as http:
            for _ in range(3):
                assert http.get("/v1/releases/live", headers=headers[0]).status_code == 200
            refused = http.get("/v1/releases/live", headers=headers[0])
            assert refused.status_code == 429
            assert refused.json()["type"] == "urn:creditline:error:RateExceeded"
            assert refused.json()["title"] == "Rate exceeded"
            assert 1_190 < int(refused.headers["retry-after"]) <= 1_200
            # Reading costs no quota, and a key without limits has none.
            for header in headers[1:]:
                assert all(http.get("/v1/releases/live", headers=header).is_success for _ in range(5))
        metadata = [("authorization", f"Bearer {rated}")]
        with grpc.insecure_channel(gateway.target) as channel, pytest.raises(grpc.RpcError) as failed:
            ReleasesStub(channel).GetRelease(GetReleaseRequest(), timeout=5, metadata=metadata)
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(failed.value.trailing_metadata())[STATUS_KEY]
        assert read_retry_seconds(details) == pytest.approx(1_195, abs=10)
        with gateway.client(api_key=rated, retries=NO_RETRIES) as client, pytest.raises(RateExceeded):
            client.release()
        assert _refusals(gateway, "http", "rate") == 1
        assert _refusals(gateway, "grpc", "rate") == 2


def test_a_quota_counts_pictures_and_is_refused_before_they_are_read(
    tmp_path: Path, release: Release, start_redis: Callable[..., RedisServer]
) -> None:
    settings = gateway_settings(tmp_path, release, broker_url=start_redis().url, key_limits_seconds=10)
    _, paid, _ = _keys(settings.ledger_url)
    with running_gateway(settings) as gateway:
        with gateway.client(api_key=paid, retries=NO_RETRIES) as client:
            for _ in range(2):
                with pytest.raises(InvalidInput):
                    client.attribute(b"no picture", prompt="a flag", generator=GENERATOR)
            with pytest.raises(QuotaExceeded, match="the quota 2/d of this API key"):
                client.attribute(b"no picture", prompt="a flag", generator=GENERATOR)
        with gateway.http(headers={"Authorization": f"Bearer {paid}"}) as http:
            refused = http.post("/v1/attributions", content=iter([b"x" * 1_000]))
            assert http.get("/v1/releases/live").status_code == 200
        assert refused.status_code == 429
        assert refused.json()["title"] == "Quota exceeded"
        assert int(refused.headers["retry-after"]) > 40_000
        assert (_refusals(gateway, "http", "quota"), _refusals(gateway, "grpc", "quota")) == (1, 1)


def test_a_batch_counts_all_its_pictures_or_none(
    tmp_path: Path, release: Release, start_redis: Callable[..., RedisServer]
) -> None:
    settings = gateway_settings(tmp_path, release, broker_url=start_redis().url, key_limits_seconds=10)
    with Ledger.open(settings.ledger_url) as ledger:
        key = ledger.keys.create("museum", [Scope.ATTRIBUTE], quota=Allowance.parse("40/d")).text
    picture = AttributeRequest(image=b"no picture", prompt="a flag", generator=GENERATOR)
    metadata = [("authorization", f"Bearer {key}")]
    body = {"image": "bm8gcGljdHVyZQ==", "prompt": "a flag", "generator": GENERATOR}
    with running_gateway(settings) as gateway, grpc.insecure_channel(gateway.target) as channel:
        stub = AttributionStub(channel)
        many = BatchAttributeRequest(requests=[picture] * 32)
        results = stub.BatchAttribute(many, timeout=30, metadata=metadata).results
        assert len(results) == 32
        with pytest.raises(grpc.RpcError) as failed:
            stub.BatchAttribute(many, timeout=30, metadata=metadata)
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(failed.value.trailing_metadata())[STATUS_KEY]
        assert read_retry_seconds(details) == pytest.approx(24 * 2_160, rel=0.01)
        with gateway.http(headers={"Authorization": f"Bearer {key}"}) as http:
            refused = http.post("/v1/attributions:batch", json={"requests": [body] * 9})
            assert (refused.status_code, refused.json()["title"]) == (429, "Quota exceeded")
            assert http.post("/v1/attributions:batch", json={"requests": [body] * 8}).status_code == 200
            assert http.post("/v1/attributions", json=body).status_code == 429


def test_limits_hold_without_redis_and_follow_the_ledger(tmp_path: Path, release: Release) -> None:
    settings = gateway_settings(tmp_path, release, key_rate="2/h")
    _, _, plain = _keys(settings.ledger_url)
    with Ledger.open(settings.ledger_url) as ledger, running_gateway(settings) as gateway:
        (key,) = [each for each in ledger.keys.all() if plain.split("_")[1] == each.id]
        with gateway.http(headers={"Authorization": f"Bearer {plain}"}) as http:
            asked = [http.get("/v1/releases/live").status_code for _ in range(3)]
            assert asked == [200, 200, 429]
            assert "creditline_gateway_key_limits_local 1.0" in http.get("/metrics").text
            ledger.keys.limit(key.id, rate=Allowance.parse("100/s"), quota=None)
            ends = time.monotonic() + 10
            while http.get("/v1/releases/live").status_code != 200:
                assert time.monotonic() < ends
                time.sleep(0.1)


def test_each_picture_of_a_stream_counts(
    tmp_path: Path, release: Release, start_redis: Callable[..., RedisServer]
) -> None:
    settings = gateway_settings(tmp_path, release, broker_url=start_redis().url, key_limits_seconds=10)
    _, streamed, _ = _keys(settings.ledger_url)
    query = AttributeRequest(image=b"no picture", prompt="a flag", generator=GENERATOR)
    with running_gateway(settings) as gateway, grpc.insecure_channel(gateway.target) as channel:
        stub = AttributionStub(channel)
        asked = (StreamAttributeRequest(id=str(number), request=query) for number in range(3))
        metadata = [("authorization", f"Bearer {streamed}")]
        codes = [each.error.code for each in stub.StreamAttribute(asked, timeout=30, metadata=metadata)]
        assert sorted(codes) == [*[code_pb2.INVALID_ARGUMENT] * 2, code_pb2.RESOURCE_EXHAUSTED]
