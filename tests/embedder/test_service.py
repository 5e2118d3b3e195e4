"""The embedder over gRPC, with the real towers."""

from __future__ import annotations

import platform
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from creditline.corpus.works import Corpus, Work
from creditline.embedder import service
from creditline.embedder_client.pixels import pixels_message
from creditline.pictures.queries import query_pixels
from creditline.release import Release
from creditline.v1 import embedder_pb2 as proto
from tests.embedder.held_requests import held_requests, no_collection
from tests.processes import wait_until

if TYPE_CHECKING:
    from tests.embedder.conftest import Served


def items(works: Sequence[Work]) -> list[proto.EmbedRequest.Item]:
    return [proto.EmbedRequest.Item(image=work.thumbnail, text=work.caption) for work in works]


def vectors(response: proto.EmbedResponse) -> np.ndarray:
    return np.array([vector.values for vector in response.vectors])


def refusal(served: Served, request: proto.EmbedRequest, **options: float) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        served.stub.Embed(request, **options)
    return raised.value.code(), raised.value.details()


def test_works_embed_to_the_vectors_of_the_release(
    served: Served, embedder_release: Release, small_corpus: Corpus
) -> None:
    request = proto.EmbedRequest(items=items(small_corpus.works[:5]), side=proto.SIDE_WORK)
    response = served.stub.Embed(request)
    assert vectors(response) == pytest.approx(embedder_release.vectors()[:5], abs=2e-3)
    assert np.linalg.norm(vectors(response), axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert response.release == "development"
    assert response.tower_ms > response.head_ms > 0.0


def test_a_release_that_cannot_tell_halves_apart_gives_the_vector_alone(
    served: Served, small_corpus: Corpus
) -> None:
    """`tests/gateway` asks for them of a release that can."""
    asked = [
        proto.EmbedRequest(items=items(small_corpus.works[:1]), side=proto.SIDE_QUERY, halves=halves)
        for halves in (True, False)
    ]
    with_halves, without = (served.stub.Embed(request).vectors[0] for request in asked)
    assert with_halves.values == pytest.approx(without.values, abs=1e-5)
    assert not with_halves.picture_alone
    assert not with_halves.prompt_alone


def test_callers_that_come_together_get_the_vectors_of_callers_that_come_alone(
    served: Served, small_corpus: Corpus
) -> None:
    requests = [
        proto.EmbedRequest(items=items(small_corpus.works[row : row + 2]), side=proto.SIDE_QUERY)
        for row in range(0, 12, 2)
    ]
    alone = np.concatenate([vectors(served.stub.Embed(request)) for request in requests])
    with ThreadPoolExecutor(6) as callers:
        together = np.concatenate([vectors(answer) for answer in callers.map(served.stub.Embed, requests)])
    assert together == pytest.approx(alone, abs=1e-5)


def test_it_reports_which_encoder_is_loaded(served: Served, embedder_release: Release) -> None:
    answer = served.stub.GetEncoder(proto.GetEncoderRequest())
    assert (answer.release, answer.dimension) == ("development", 16)
    assert answer.towers_fingerprint == embedder_release.towers_fingerprint
    assert answer.max_batch >= 1
    assert answer.device == "cpu"


def test_another_release_is_refused_naming_the_loaded_one(served: Served, small_corpus: Corpus) -> None:
    request = proto.EmbedRequest(items=items(small_corpus.works[:1]), side=proto.SIDE_QUERY, release="r9")
    code, details = refusal(served, request)
    assert code == grpc.StatusCode.NOT_FOUND
    assert details == (
        "release 'r9' is not loaded here, 'development' is; request that one, or start an embedder with the"
        " other's CREDITLINE_RELEASE_DIRECTORY"
    )


def test_a_refused_call_frees_its_pictures_without_a_garbage_collection(
    served: Served, small_corpus: Corpus
) -> None:
    request = proto.EmbedRequest(items=items(small_corpus.works[:1]), side=proto.SIDE_QUERY, release="r9")
    with no_collection():
        for _ in range(3):
            refusal(served, request)
        wait_until(
            lambda: held_requests(service, proto.EmbedRequest) == 0, "the requests are freed", seconds=5
        )


def test_a_bad_picture_is_named_and_the_next_good_one_is_answered(
    served: Served, small_corpus: Corpus
) -> None:
    good = items(small_corpus.works[:1])
    bad = proto.EmbedRequest.Item(image=b"no picture", text="a")
    code, details = refusal(served, proto.EmbedRequest(items=[*good, bad], side=proto.SIDE_QUERY))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "items[1].image" in details
    assert len(served.stub.Embed(proto.EmbedRequest(items=good, side=proto.SIDE_QUERY)).vectors) == 1


def test_invalid_requests_are_refused_naming_the_field(served: Served, small_corpus: Corpus) -> None:
    good = items(small_corpus.works[:1])
    long = proto.EmbedRequest.Item(image=good[0].image, text="x" * 10_001)
    for request, field in (
        (proto.EmbedRequest(items=good), "side"),
        (proto.EmbedRequest(side=proto.SIDE_QUERY), "items"),
        (proto.EmbedRequest(items=[long], side=proto.SIDE_QUERY), "items[0].text"),
    ):
        code, details = refusal(served, request)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert field in details


def test_pixels_have_exactly_the_vector_of_the_file_that_they_were_decoded_from(
    served: Served, small_corpus: Corpus
) -> None:
    for work in small_corpus.works[:3]:
        pixels = pixels_message(query_pixels(work.thumbnail))
        file = proto.EmbedRequest.Item(image=work.thumbnail, text=work.caption)
        given = proto.EmbedRequest.Item(pixels=pixels, text=work.caption)
        requests = (proto.EmbedRequest(items=[item], side=proto.SIDE_QUERY) for item in (file, given))
        by_file, by_pixels = (vectors(served.stub.Embed(request)) for request in requests)
        assert np.array_equal(by_file, by_pixels)


@pytest.mark.parametrize(
    ("pixels", "image", "sentence"),
    [
        (proto.Pixels(width=2, height=2, rgb=bytes(11)), b"", "are 12 bytes, not 11"),
        (proto.Pixels(), b"", "0 × 0"),
        (proto.Pixels(width=513, height=1, rgb=bytes(1539)), b"", "at most 512 pixels"),
        (proto.Pixels(width=1, height=1, rgb=bytes(3)), b"x", "send one of them"),
    ],
)
def test_pixels_that_are_not_what_they_state_are_refused(
    served: Served, pixels: proto.Pixels, image: bytes, sentence: str
) -> None:
    item = proto.EmbedRequest.Item(pixels=pixels, image=image, text="a")
    code, details = refusal(served, proto.EmbedRequest(items=[item], side=proto.SIDE_QUERY))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in details
    assert "items[0].pixels" in details


def test_an_empty_text_is_accepted(served: Served, small_corpus: Corpus) -> None:
    item = proto.EmbedRequest.Item(image=small_corpus.works[0].thumbnail, text="")
    response = served.stub.Embed(proto.EmbedRequest(items=[item], side=proto.SIDE_QUERY))
    assert np.isfinite(vectors(response)).all()


def test_more_pictures_than_may_wait_are_refused(served: Served, small_corpus: Corpus) -> None:
    request = proto.EmbedRequest(items=items(small_corpus.works[:33]), side=proto.SIDE_QUERY)
    code, details = refusal(served, request)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "32" in details


def test_a_deadline_that_cannot_be_met_is_reported_as_passed(served: Served, small_corpus: Corpus) -> None:
    request = proto.EmbedRequest(items=items(small_corpus.works[:16]), side=proto.SIDE_QUERY)
    assert refusal(served, request, timeout=0.005)[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def test_it_is_healthy_and_counts_what_it_does(served: Served, small_corpus: Corpus) -> None:
    health = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", "creditline.v1.Embedder"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    served.stub.Embed(proto.EmbedRequest(items=items(small_corpus.works[:2]), side=proto.SIDE_QUERY))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    metrics = opener.open(served.metrics_url, timeout=10).read().decode()
    counted = {
        line.split(" ")[0]: float(line.split(" ")[1]) for line in metrics.splitlines() if line[0] != "#"
    }
    assert counted['creditline_embedder_calls_total{code="OK"}'] >= 1
    assert counted["creditline_embedder_batch_size_sum"] >= 2
    assert counted['creditline_embedder_release{release="development"}'] == 1
    assert {
        counted[f'creditline_embedder_tower_compiled{{tower="{name}"}}'] for name in ("image", "text")
    } == {1}
    assert counted[f'creditline_device_info{{device="cpu",name="{platform.machine()}"}}'] == 1


def test_a_request_may_ask_for_faults_instead_of_failing(served: Served, small_corpus: Corpus) -> None:
    usable = items(small_corpus.works[:2])
    broken = [
        proto.EmbedRequest.Item(image=b"no picture", text="a"),
        proto.EmbedRequest.Item(text="a" * 10_001),
    ]
    mixed = proto.EmbedRequest(items=[usable[0], *broken, usable[1]], side=proto.SIDE_WORK)
    code, details = refusal(served, mixed)
    assert (code, details.split(" (")[0]) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "items[1].image is not in a known format",
    )
    mixed.report_faults = True
    response = served.stub.Embed(mixed)
    assert [vector.fault.partition(" (")[0].partition(";")[0] for vector in response.vectors] == [
        "",
        "the picture is not in a known format",
        "the text has 10,001 characters",
        "",
    ]
    alone = served.stub.Embed(proto.EmbedRequest(items=usable, side=proto.SIDE_WORK))
    assert np.array_equal(vectors(alone), [response.vectors[0].values, response.vectors[3].values])
