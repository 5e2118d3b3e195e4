"""API keys, by themselves and at both entrances."""

from __future__ import annotations

import asyncio

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from creditline.errors import Unauthenticated
from creditline.gateway.access.keys import ApiKeys
from creditline.v1.release_pb2 import GetReleaseRequest
from creditline.v1.release_pb2_grpc import ReleasesStub
from tests.gateway.conftest import GENERATOR, RunningGateway


@pytest.mark.parametrize(
    "given", [None, "", "right", "Basic right", "Bearer", "Bearer wrong", "Bearer right2"]
)
def test_who_has_no_known_key_stays_outside(given: str | None) -> None:
    with pytest.raises(Unauthenticated) as refused:
        _authenticate(ApiKeys(["right", "other"]), given)
    assert refused.value.field == "authorization"
    assert "Bearer KEY" in refused.value.message


@pytest.mark.parametrize("given", ["Bearer right", "bearer other", "Bearer  right "])
def test_a_known_key_lets_in(given: str) -> None:
    assert _lets_in(ApiKeys(["right", "other"]), given)
    assert not _lets_in(ApiKeys(["third"]), given)


@pytest.mark.parametrize("given", [None, "", "Bearer whatever"])
def test_without_keys_everybody_is_let_in(given: str | None) -> None:
    assert _lets_in(ApiKeys([]), given)


def _authenticate(keys: ApiKeys, *given: str | None) -> None:
    asyncio.run(keys.authenticate([value for value in given if value is not None], address=""))


def test_two_entries_are_refused_though_each_is_a_known_key() -> None:
    with pytest.raises(Unauthenticated, match="2 'authorization' entries"):
        _authenticate(ApiKeys(["right", "other"]), "Bearer right", "Bearer other")


def _lets_in(keys: ApiKeys, given: str | None) -> bool:
    try:
        _authenticate(keys, given)
    except Unauthenticated:
        return False
    return True


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_missing_or_wrong_key_is_refused_over_grpc(locked_gateway: RunningGateway, key: str | None) -> None:
    with (
        locked_gateway.client(api_key=key) as client,
        pytest.raises(Unauthenticated, match="API key") as refused,
    ):
        client.attribute(b"", prompt="", generator=GENERATOR)
    assert refused.value.field == "authorization"


def test_the_right_key_is_let_in_over_grpc(locked_gateway: RunningGateway) -> None:
    with locked_gateway.client(api_key="right") as client:
        assert client.release().release.name == "gateway-test"


@pytest.mark.parametrize("path", ["/v1/releases/live", "/v1/works/x", "/v1/audits/x"])
def test_a_missing_key_is_refused_over_http(locked_gateway: RunningGateway, path: str) -> None:
    with locked_gateway.http() as http:
        refused = http.get(path)
    assert (refused.status_code, refused.json()["field"]) == (401, "authorization")
    assert refused.headers["content-type"] == "application/problem+json"


def test_the_right_key_is_let_in_over_http(locked_gateway: RunningGateway) -> None:
    with locked_gateway.http(headers={"Authorization": "Bearer other"}) as http:
        assert http.get("/v1/releases/live").status_code == 200


def test_probes_need_no_key(locked_gateway: RunningGateway) -> None:
    with locked_gateway.http() as http:
        assert http.get("/healthz").status_code == 200
        assert http.get("/metrics").status_code == 200
    with grpc.insecure_channel(locked_gateway.target) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_two_keys_are_refused_on_both_faces(locked_gateway: RunningGateway) -> None:
    two = [("authorization", "Bearer right"), ("authorization", "Bearer other")]
    with locked_gateway.http() as http:
        refused = http.get("/v1/releases/live", headers=httpx.Headers(two))
    assert refused.status_code == 401
    assert "2 'authorization' entries" in refused.json()["detail"]
    with grpc.insecure_channel(locked_gateway.target) as channel, pytest.raises(grpc.RpcError) as failed:
        ReleasesStub(channel).GetRelease(GetReleaseRequest(), timeout=5, metadata=two)
    assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "2 'authorization' entries" in failed.value.details()


def test_an_upload_without_a_key_is_refused_before_its_body_is_read(locked_gateway: RunningGateway) -> None:
    with locked_gateway.http() as http:
        refused = http.post("/v1/attributions", content=iter([b"x" * 1000]))
    assert refused.status_code == 401
