"""Lists over both faces: complete, the same on both, and of the caller's owner only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest

from creditline.corpus.openclipart import embedded_corpus
from creditline.ledger import Ledger, Scope
from creditline.release import Release
from creditline.v1 import attribution_pb2, audit_pb2, catalog_pb2, contributor_pb2
from creditline.v1.attribution_pb2_grpc import AttributionStub
from creditline.v1.audit_pb2_grpc import AuditsStub
from creditline.v1.catalog_pb2_grpc import CatalogStub
from creditline.v1.contributor_pb2_grpc import ContributorsStub
from tests.gateway.conftest import GENERATOR, RunningGateway, gateway_settings, running_gateway

_LISTS = {
    "attributions": (AttributionStub, "ListAttributions", attribution_pb2.ListAttributionsRequest),
    "audits": (AuditsStub, "ListAudits", audit_pb2.ListAuditsRequest),
    "works": (CatalogStub, "ListWorks", catalog_pb2.ListWorksRequest),
    "contributors": (ContributorsStub, "ListContributors", contributor_pb2.ListContributorsRequest),
}


@dataclass(frozen=True)
class _Keyed:
    """A gateway, and keys of two owners and of an admin."""

    gateway: RunningGateway
    keys: dict[str, str]

    def page(self, listed: str, owner: str, **query: Any) -> httpx.Response:
        with self.gateway.http(headers={"Authorization": f"Bearer {self.keys[owner]}"}) as http:
            return http.get(f"/v1/{listed}", params=query)

    def whole(self, listed: str, owner: str, size: int) -> list[dict[str, Any]]:
        """All entries, page by page over HTTP."""
        entries, token = [], ""
        while True:
            page = self.page(listed, owner, page_size=size, page_token=token).json()
            entries += page[listed]
            token = page["next_page_token"]
            if not token:
                return entries

    def called(self, listed: str, owner: str, **query: Any) -> Any:
        """A page over gRPC."""
        stub, method, request = _LISTS[listed]
        metadata = [("authorization", f"Bearer {self.keys[owner]}")]
        with grpc.insecure_channel(self.gateway.target) as channel:
            return getattr(stub(channel), method)(request(**query), timeout=30, metadata=metadata)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Iterator[_Keyed]:
    settings = gateway_settings(tmp_path_factory.mktemp("lists"), release, api_keys="operator")
    scopes = [scope for scope in Scope if scope is not Scope.ADMIN]
    with Ledger.open(settings.ledger_url) as ledger:
        keys = {owner: ledger.keys.create(owner, scopes).text for owner in ("museum", "archive")}
        for number in range(5):
            for owner in keys:
                recorded = ledger.record_attribution(
                    release="gateway-test",
                    generator=GENERATOR,
                    corpus="b" * 64,
                    prompt=f"{owner} {number}",
                    image=b"\x89PNG...",
                    k=1,
                    answer={"works": [], "contributors": [], "remainder": 1.0},
                    awaits_delivery=True,
                    owner=owner,
                )
                ledger.submit_audit(recorded)
    with running_gateway(settings) as gateway:
        yield _Keyed(gateway, {**keys, "admin": "operator"})


@pytest.mark.parametrize("listed", ["attributions", "audits"])
def test_an_owner_lists_its_own_and_an_admin_all(keyed: _Keyed, listed: str) -> None:
    ids = {owner: [each["id"] for each in keyed.whole(listed, owner, 2)] for owner in keyed.keys}
    assert [len(set(ids[owner])) for owner in ("museum", "archive", "admin")] == [5, 5, 10]
    assert {*ids["museum"], *ids["archive"]} == set(ids["admin"])


def test_answers_are_listed_newest_first_with_their_prompts(keyed: _Keyed) -> None:
    listed = keyed.whole("attributions", "museum", 3)
    assert [each["prompt"] for each in listed] == [f"museum {number}" for number in (4, 3, 2, 1, 0)]
    assert {(each["release"], each["generator"], each["k"]) for each in listed} == {
        ("gateway-test", GENERATOR, 1)
    }


def test_all_works_of_the_corpus_are_listed_once_in_the_order_of_their_ids(keyed: _Keyed) -> None:
    listed = keyed.whole("works", "museum", 1_000)
    assert [each["id"] for each in listed] == sorted(embedded_corpus().ids)
    known = embedded_corpus().works[0]
    (one,) = [each for each in listed if each["id"] == known.id]
    assert (one["title"], one["licence"], one["withdrawn"]) == (known.title, known.licence, False)


def test_every_contributor_is_listed_once_with_the_number_of_works(keyed: _Keyed) -> None:
    listed = keyed.whole("contributors", "museum", 200)
    names = {holder.name for work in embedded_corpus() for holder in work.holders}
    assert len({each["name"] for each in listed}) == len(listed) <= len(names)
    assert sum(each["works"] for each in listed) >= len(embedded_corpus())


@pytest.mark.parametrize("listed", _LISTS)
def test_both_faces_give_the_same_pages(keyed: _Keyed, listed: str) -> None:
    first = keyed.page(listed, "museum", page_size=2).json()
    called = keyed.called(listed, "museum", page_size=2)
    key = "name" if listed == "contributors" else "id"
    entries = getattr(called, listed)
    assert [getattr(each, key) for each in entries] == [each[key] for each in first[listed]]
    assert called.next_page_token == first["next_page_token"]
    after = keyed.called(listed, "museum", page_size=2, page_token=first["next_page_token"])
    assert len(getattr(after, listed)) == 2
    assert getattr(after, listed)[0] not in entries


@pytest.mark.parametrize("listed", _LISTS)
def test_a_foreign_token_or_a_negative_size_is_refused_by_name(keyed: _Keyed, listed: str) -> None:
    other = "audits" if listed == "attributions" else "attributions"
    foreign = keyed.page(other, "museum", page_size=1).json()["next_page_token"]
    for query, field in (({"page_token": foreign}, "page_token"), ({"page_size": -1}, "page_size")):
        answer = keyed.page(listed, "museum", **query)
        assert (answer.status_code, answer.json()["field"]) == (400, field)
        with pytest.raises(grpc.RpcError) as refused:
            keyed.called(listed, "museum", **query)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_token_of_another_owner_is_refused(keyed: _Keyed) -> None:
    token = keyed.page("attributions", "archive", page_size=1).json()["next_page_token"]
    for owner in ("museum", "admin"):
        assert keyed.page("attributions", owner, page_token=token).status_code == 400


def test_whoever_reads_an_answer_sees_on_both_faces_whether_it_was_delivered(keyed: _Keyed) -> None:
    newest, before = (each["id"] for each in keyed.whole("attributions", "archive", 100)[:2])
    with Ledger.open(keyed.gateway.settings.ledger_url) as ledger:
        ledger.mark_undelivered([newest])
    wanted = {newest: True, before: False}
    assert _told(keyed, wanted) == [wanted] * 4
    with Ledger.open(keyed.gateway.settings.ledger_url) as ledger:
        ledger.mark_delivered(newest)
    wanted = {newest: False, before: False}
    assert _told(keyed, wanted) == [wanted] * 4


def _told(keyed: _Keyed, ids: Iterable[str]) -> list[dict[str, bool]]:
    """Whether each answer is undelivered: by list and by reading it, over HTTP and by the client."""
    listed = {each["id"]: each["undelivered"] for each in keyed.whole("attributions", "archive", 100)}
    key = keyed.keys["archive"]
    with keyed.gateway.http(headers={"Authorization": f"Bearer {key}"}) as http:
        read = {each: http.get(f"/v1/attributions/{each}").json()["undelivered"] for each in ids}
    with keyed.gateway.client(api_key=key) as client:
        by_client = {each.id: each.undelivered for each in client.attributions()}
        read_by_client = {each: client.attribution(each).undelivered for each in ids}
    return [{each: found[each] for each in ids} for found in (listed, read, by_client, read_by_client)]
