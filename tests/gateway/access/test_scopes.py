"""What each scope permits, over both faces: every gRPC method and every route is listed here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from google.protobuf.message_factory import GetMessageClass

from creditline.client import CreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.errors import NotFound, PermissionDenied
from creditline.ledger import Ledger, Scope
from creditline.release import Release
from creditline.v1 import (
    attribution_pb2,
    audit_pb2,
    catalog_pb2,
    contributor_pb2,
    release_pb2,
    withdrawal_pb2,
)
from tests.gateway.conftest import GENERATOR, RunningGateway, gateway_settings, running_gateway
from tests.gateway.pictures_made_up import red_square

if TYPE_CHECKING:
    from tests.gateway.served import Served

_FILES = (attribution_pb2, audit_pb2, catalog_pb2, contributor_pb2, release_pb2, withdrawal_pb2)
_METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_EVERYBODY = frozenset(Scope)
_READ, _AUDIT, _WITHDRAW = Scope.READ, Scope.AUDIT, Scope.WITHDRAW
# Scopes with which a request is not refused as not permitted; an admin's never is.
_GRPC = {
    "Attribution/Attribute": {Scope.ATTRIBUTE},
    "Attribution/BatchAttribute": {Scope.ATTRIBUTE},
    "Attribution/StreamAttribute": {Scope.ATTRIBUTE},
    "Attribution/GetAttribution": {_READ},
    "Attribution/ListAttributions": {_READ},
    "Audits/SubmitAudit": {_AUDIT},
    "Audits/GetAudit": {_READ, _AUDIT},
    "Audits/ListAudits": {_READ, _AUDIT},
    "Catalog/GetWork": _EVERYBODY,
    "Catalog/ListWorks": _EVERYBODY,
    "Contributors/Merge": set[Scope](),
    "Contributors/RevokeMerge": set[Scope](),
    "Contributors/ListMerges": set[Scope](),
    "Contributors/ListContributors": _EVERYBODY,
    "Releases/GetRelease": _EVERYBODY,
    "Withdrawals/Withdraw": {_WITHDRAW},
    "Withdrawals/Revoke": {_WITHDRAW},
    "Withdrawals/ListWithdrawals": {_READ, _WITHDRAW},
}
_HTTP = {
    "post /v1/attributions": {Scope.ATTRIBUTE},
    "post /v1/attributions:batch": {Scope.ATTRIBUTE},
    "get /v1/attributions": {_READ},
    "get /v1/attributions/{attribution_id}": {_READ},
    "get /v1/attributions/{attribution_id}/picture": {_READ},
    "post /v1/audits": {_AUDIT},
    "get /v1/audits": {_READ, _AUDIT},
    "get /v1/audits/{audit_id}": {_READ, _AUDIT},
    "get /v1/works": _EVERYBODY,
    "get /v1/contributors": _EVERYBODY,
    "get /v1/works/{work_id}": _EVERYBODY,
    "get /v1/works/{work_id}/thumbnail": _EVERYBODY,
    "get /v1/releases/{name}": _EVERYBODY,
    "post /v1/contributors/merges": set[Scope](),
    "get /v1/contributors/merges": set[Scope](),
    "post /v1/withdrawals": {_WITHDRAW},
    "get /v1/withdrawals": {_READ, _WITHDRAW},
}
_BODIES: dict[str, dict[str, Any]] = {
    "post /v1/attributions": {"files": {"image": b"no picture"}, "data": {"prompt": "a kite"}},
    "post /v1/attributions:batch": {"json": {"requests": []}},
    "post /v1/audits": {"json": {"attribution_id": "0" * 32}},
    "post /v1/contributors/merges": {"json": {"person": {"name": "a"}, "other": {"name": "b"}}},
    "post /v1/withdrawals": {"json": {"kind": "WORK", "subject": "nowhere"}},
}
_WORK = embedded_corpus().works[20]


@dataclass(frozen=True)
class _Keyed:
    """A gateway and keys of its ledger."""

    gateway: RunningGateway
    by_scope: dict[Scope, str]
    museum: str
    archive: str

    def http(self, key: str) -> httpx.Client:
        return self.gateway.http(headers={"Authorization": f"Bearer {key}"})

    def client(self, key: str) -> CreditlineClient:
        return self.gateway.client(api_key=key)

    def recorded(self, owner: str) -> str:
        """Id of an answer that was recorded for an owner."""
        with Ledger.open(self.gateway.settings.ledger_url) as ledger:
            return ledger.record_attribution(
                release="gateway-test",
                generator=GENERATOR,
                corpus="b" * 64,
                prompt="a kite",
                image=b"\x89PNG...",
                k=1,
                answer={"works": [], "contributors": [], "remainder": 1.0},
                owner=owner,
            )


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Iterator[_Keyed]:
    settings = gateway_settings(tmp_path_factory.mktemp("scopes"), release, api_keys="operator")
    with Ledger.open(settings.ledger_url) as ledger:
        by_scope = {scope: ledger.keys.create(f"only {scope}", [scope]).text for scope in Scope}
        everything_own = [scope for scope in Scope if scope is not Scope.ADMIN]
        museum, archive = (ledger.keys.create(owner, everything_own).text for owner in ("museum", "archive"))
    with running_gateway(settings) as gateway:
        yield _Keyed(gateway, by_scope, museum, archive)


def test_every_method_and_every_route_is_listed_here(keyed: _Keyed) -> None:
    assert {name.removeprefix("/creditline.v1.") for name in _METHODS} == _GRPC.keys()
    with keyed.gateway.http() as http:
        paths = http.get("/openapi.json").json()["paths"]
    routes = {f"{method} {path}" for path, methods in paths.items() for method in methods}
    assert {route for route in routes if " /v1/" in route} == _HTTP.keys()


def _code(channel: grpc.Channel, name: str, method: Any, metadata: list[tuple[str, str]]) -> grpc.StatusCode:
    """Status of a call with an empty request."""
    request, response = map(GetMessageClass, (method.input_type, method.output_type))
    call = channel.unary_unary(name, request.SerializeToString, response.FromString)
    try:
        call(request(), timeout=10, metadata=metadata)
    except grpc.RpcError as failed:
        return failed.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_permits_its_grpc_methods_and_no_others(keyed: _Keyed, scope: Scope) -> None:
    metadata = [("authorization", f"Bearer {keyed.by_scope[scope]}")]
    with grpc.insecure_channel(keyed.gateway.target) as channel:
        codes = {name: _code(channel, name, method, metadata) for name, method in _METHODS.items()}
    assert grpc.StatusCode.INTERNAL not in codes.values()
    denied = {name for name, code in codes.items() if code is grpc.StatusCode.PERMISSION_DENIED}
    denied = {name.removeprefix("/creditline.v1.") for name in denied}
    assert denied == {name for name, scopes in _GRPC.items() if not _permits(scope, scopes)}


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_permits_its_routes_and_no_others(keyed: _Keyed, scope: Scope) -> None:
    denied = set()
    with keyed.http(keyed.by_scope[scope]) as http:
        for route in _HTTP:
            method, path = route.split(" ")
            for name in ("attribution_id", "audit_id", "work_id", "name"):
                path = path.replace(f"{{{name}}}", "0" * 32)
            answer = http.request(method.upper(), path, **_BODIES.get(route, {}))
            assert answer.status_code != 500
            if answer.status_code == 403:
                denied.add(route)
                assert answer.json()["field"] == "authorization"
    assert denied == {route for route, scopes in _HTTP.items() if not _permits(scope, scopes)}


def test_answers_pictures_and_audits_of_another_owner_do_not_exist(keyed: _Keyed) -> None:
    attribution_id = keyed.recorded("museum")
    with keyed.client(keyed.museum) as own, keyed.client(keyed.archive) as other:
        assert own.attribution(attribution_id).prompt == "a kite"
        assert own.attributed_picture(attribution_id) == b"\x89PNG..."
        with pytest.raises(NotFound) as foreign:
            other.attribution(attribution_id)
        with pytest.raises(NotFound) as unknown:
            other.attribution("0" * 32)
        assert foreign.value.message.replace(attribution_id, "0" * 32) == unknown.value.message
        with pytest.raises(NotFound):
            other.attributed_picture(attribution_id)
        with pytest.raises(NotFound):
            other.submit_audit(attribution_id)
        audit = own.submit_audit(attribution_id)
        assert own.audit(audit.id).attribution_id == attribution_id
        with pytest.raises(NotFound):
            other.audit(audit.id)
    paths = [f"/v1/attributions/{attribution_id}", f"/v1/attributions/{attribution_id}/picture"]
    for key, status in ((keyed.museum, 200), (keyed.archive, 404), ("operator", 200)):
        with keyed.http(key) as http:
            found = [http.get(path).status_code for path in (*paths, f"/v1/audits/{audit.id}")]
            assert found == [status] * 3
            submitted = http.post("/v1/audits", json={"attribution_id": attribution_id})
            assert submitted.status_code == (202 if status == 200 else 404)


def test_what_was_recorded_without_an_owner_is_for_admins(keyed: _Keyed) -> None:
    attribution_id = keyed.recorded("")
    with keyed.client(keyed.museum) as own, pytest.raises(NotFound):
        own.attribution(attribution_id)
    with keyed.client("operator") as admin:
        assert admin.attribution(attribution_id).prompt == "a kite"


def test_a_withdrawal_is_revoked_by_its_owner_or_an_admin(keyed: _Keyed) -> None:
    with (
        keyed.client(keyed.museum) as museum,
        keyed.client(keyed.archive) as archive,
        keyed.client("operator") as admin,
    ):
        museum.withdraw_work(_WORK.id, reason="asked by letter")
        with pytest.raises(PermissionDenied, match="withdrawn by another owner") as refused:
            archive.revoke_work(_WORK.id)
        assert refused.value.field == "subject"
        # The withdrawal of each stands until that one is revoked, whichever came first.
        archive.withdraw_work(_WORK.id)
        museum.revoke_work(_WORK.id)
        assert archive.work(_WORK.id).withdrawn
        archive.revoke_work(_WORK.id)
        assert not archive.work(_WORK.id).withdrawn
        for client in (museum, archive):
            client.withdraw_contributor(_WORK.contributor)
        admin.revoke_contributor(_WORK.contributor)
        assert not museum.work(_WORK.id).withdrawn


def test_withdrawals_are_listed_to_their_owner_and_to_admins(keyed: _Keyed) -> None:
    museum_work, archive_work = (embedded_corpus().works[number].id for number in (30, 31))
    with keyed.client(keyed.museum) as museum, keyed.client(keyed.archive) as archive:
        museum.withdraw_work(museum_work, reason="a secret of the museum")
        archive.withdraw_work(archive_work)
        assert [each.subject for each in museum.withdrawals()] == [museum_work]
        assert {each.subject for each in archive.withdrawals(history=True)} >= {archive_work}
        assert "a secret of the museum" not in {each.reason for each in archive.withdrawals(history=True)}
    with keyed.client("operator") as admin:
        assert {museum_work, archive_work} <= {each.subject for each in admin.withdrawals()}


def _permits(scope: Scope, scopes: set[Scope] | frozenset[Scope]) -> bool:
    return scope is Scope.ADMIN or scope in scopes


def test_an_answer_is_recorded_for_the_owner_of_the_key_that_asked(served: Served, tmp_path: Path) -> None:
    settings = served.gateway.settings.model_copy(update={"ledger_url": f"sqlite:///{tmp_path}/ledger.db"})
    with Ledger.open(settings.ledger_url) as ledger:
        museum, archive = (
            ledger.keys.create(owner, [Scope.ATTRIBUTE, Scope.READ]).text for owner in ("museum", "archive")
        )
        with (
            running_gateway(settings) as gateway,
            gateway.client(api_key=museum) as own,
            gateway.client(api_key=archive) as other,
        ):
            answer = own.attribute(red_square(), prompt="a kite", k=1)
            assert own.attribution(answer.attribution_id).answer.attribution_id == answer.attribution_id
            with pytest.raises(NotFound):
                other.attributed_picture(answer.attribution_id)
        assert ledger.attribution(answer.attribution_id).owner == "museum"
        assert ledger.verify_chain().intact
