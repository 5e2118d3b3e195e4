"""Works and releases, over gRPC and REST."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from PIL import Image

from creditline.corpus.openclipart import embedded_corpus
from creditline.errors import FingerprintMismatch, NotFound
from creditline.gateway.use_cases.releases import open_served_release
from creditline.release import Release
from tests.gateway.conftest import RunningGateway


def test_a_work_is_the_same_over_grpc_and_rest(lonely_gateway: RunningGateway) -> None:
    work = embedded_corpus().works[10]
    with lonely_gateway.client() as client, lonely_gateway.http() as http:
        answer = client.work(work.id)
        body = http.get(f"/v1/works/{work.id}").json()
    assert (answer.title, answer.contributor, answer.keywords) == (
        work.title,
        work.contributor,
        work.keywords,
    )
    assert body == {**vars(answer), "keywords": list(answer.keywords)}


def test_a_thumbnail_is_the_works_own_picture(lonely_gateway: RunningGateway) -> None:
    work = embedded_corpus().works[10]
    with lonely_gateway.client() as client, lonely_gateway.http() as http:
        answer = http.get(f"/v1/works/{work.id}/thumbnail")
        assert client.thumbnail(work.id) == work.thumbnail
    assert (answer.headers["content-type"], answer.content) == ("image/webp", work.thumbnail)
    assert Image.open(io.BytesIO(answer.content)).format == "WEBP"


def test_an_unknown_work_is_not_found_by_name(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.client() as client, pytest.raises(NotFound, match="'nobody'") as missing:
        client.work("nobody")
    assert missing.value.field == "id"


@pytest.mark.parametrize("name", ["", "gateway-test"])
def test_the_live_release_answers_by_no_name_and_by_its_own(
    lonely_gateway: RunningGateway, name: str, release: Release
) -> None:
    with lonely_gateway.client() as client:
        answer = client.release(name)
    assert answer.release.name == release.name
    assert answer.release.generator_fingerprint == release.generator_fingerprint
    assert (answer.release.works, answer.release.dimension) == (release.works, release.dimension)
    assert answer.release.created == datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    assert (answer.accuracy.audits, answer.accuracy.recall) == (0, None)


def test_rest_calls_the_live_release_live(lonely_gateway: RunningGateway, release: Release) -> None:
    with lonely_gateway.http() as http:
        live = http.get("/v1/releases/live").json()
        assert live == http.get(f"/v1/releases/{release.name}").json()
    assert live["release"]["collection"] == "works-gateway-test"
    assert live["accuracy"]["recall"] is None


def test_an_unknown_release_is_not_found_and_the_live_one_is_named(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.client() as client, pytest.raises(NotFound, match="gateway-test"):
        client.release("another")


def test_a_release_of_another_corpus_is_not_served(release: Release) -> None:
    corpus = embedded_corpus()
    other = corpus.where(lambda work: work.id != release.work_ids()[3], name="other")
    with pytest.raises(FingerprintMismatch, match="CREDITLINE_CORPUS_FILE"):
        open_served_release(release, other)


def test_openapi_describes_every_route(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.http() as http:
        described = http.get("/openapi.json").json()
    assert {
        "/v1/attributions",
        "/v1/attributions/{attribution_id}",
        "/v1/attributions/{attribution_id}/picture",
        "/v1/works/{work_id}",
        "/v1/works/{work_id}/thumbnail",
        "/v1/audits",
        "/v1/audits/{audit_id}",
        "/v1/releases/{name}",
        "/v1/withdrawals",
    } <= set(described["paths"])
    answer = described["components"]["schemas"]["AttributionAnswer"]["properties"]
    assert {"works", "contributors", "remainder", "release", "timings", "accuracy"} <= set(answer)
