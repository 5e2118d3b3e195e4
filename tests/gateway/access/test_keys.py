"""API keys, by themselves and at both entrances."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from creditline.errors import Unauthenticated
from creditline.gateway.access.caller import ANYONE, Caller
from creditline.gateway.access.keys import ApiKeys
from creditline.gateway.access.ledger_keys import LedgerKeys
from creditline.gateway.access.static_keys import StaticKeys
from creditline.ledger import Ledger, Scope
from creditline.v1.release_pb2 import GetReleaseRequest
from creditline.v1.release_pb2_grpc import ReleasesStub
from tests.gateway.conftest import GENERATOR, RunningGateway


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


def _caller(ledger: Ledger, *given: str, keys: tuple[str, ...] = (), required: bool = False) -> Caller:
    """The caller with `authorization` values, at a gateway that has just started."""

    async def authenticate() -> Caller:
        accepted = ApiKeys(StaticKeys(keys), LedgerKeys(ledger.keys), required=required)
        accepted.load()
        return await accepted.authenticate(given, address="")

    return asyncio.run(authenticate())


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("",),
        ("right",),
        ("Basic right",),
        ("Bearer",),
        ("Bearer wrong",),
        ("Bearer right2",),
        ("Bearer \xe9",),
        ("Bearer \udc80",),
        (f"Bearer clk_{'0' * 16}_{'0' * 64}",),
    ],
)
def test_who_has_no_known_key_stays_outside(ledger: Ledger, given: tuple[str, ...]) -> None:
    with pytest.raises(Unauthenticated) as refused:
        _caller(ledger, *given, keys=("right", "other"))
    assert refused.value.field == "authorization"
    assert "Bearer KEY" in refused.value.message


@pytest.mark.parametrize("given", ["Bearer right", "bearer other", "Bearer  right "])
def test_a_key_of_the_environment_is_an_admin(ledger: Ledger, given: str) -> None:
    caller = _caller(ledger, given, keys=("right", "other"))
    assert (caller.name, caller.owner, caller.is_admin) == ("environment", "operator", True)


def test_a_key_of_the_ledger_acts_for_its_owner_in_its_scopes(ledger: Ledger) -> None:
    issued = ledger.keys.create("museum", [Scope.READ])
    caller = _caller(ledger, f"Bearer {issued.text}")
    assert (caller.name, caller.owner, caller.scopes) == (issued.record.id, "museum", {Scope.READ})
    forged = issued.text[:-1] + ("0" if issued.text[-1] != "0" else "1")
    with pytest.raises(Unauthenticated, match="not known"):
        _caller(ledger, f"Bearer {forged}")


@pytest.mark.parametrize("given", [(), ("",), ("Bearer whatever",)])
def test_without_keys_everybody_is_let_in_unless_keys_are_required(
    ledger: Ledger, given: tuple[str, ...]
) -> None:
    assert _caller(ledger, *given) is ANYONE
    with pytest.raises(Unauthenticated):
        _caller(ledger, *given, required=True)


def test_the_first_key_of_the_ledger_closes_the_gateway_and_its_revocation_does_not_open_it(
    ledger: Ledger,
) -> None:
    key = ledger.keys.create("museum", [Scope.READ])
    with pytest.raises(Unauthenticated, match="no API key"):
        _caller(ledger)
    ledger.keys.revoke(key.record.id)
    with pytest.raises(Unauthenticated, match="no API key"):
        _caller(ledger)


def test_two_entries_are_refused_though_each_is_a_known_key(ledger: Ledger) -> None:
    with pytest.raises(Unauthenticated, match="2 'authorization' entries"):
        _caller(ledger, "Bearer right", "Bearer other", keys=("right", "other"))


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
