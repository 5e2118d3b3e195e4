"""Re-ranking over gRPC in the embedder's process, with a small generator and the real towers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from creditline.corpus.works import Corpus
from creditline.embedder_client.pixels import pixels_message
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.pictures.pixels import RgbPixels
from creditline.release import Release, open_release, write_manifest
from creditline.release.parts import place_in
from creditline.v1 import embedder_pb2, reranker_pb2
from tests.embedder.held_requests import held_requests, no_collection
from tests.processes import wait_until
from tests.rerankable import Held, Rerankable, Running, rerankable, running

if TYPE_CHECKING:
    from creditline.embedder.reranker import Reranker
    from creditline.encoder.model import EmbedderModel

_SECONDS = 60.0


@pytest.fixture(scope="module")
def made(
    embedder_release: Release,
    small_corpus: Corpus,
    random_generator_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Rerankable:
    directory = tmp_path_factory.mktemp("rerankable") / "release"
    shutil.copytree(embedder_release.directory, directory)
    return rerankable(open_release(directory), small_corpus, random_generator_directory)


@pytest.fixture(scope="module")
def reranker(made: Rerankable) -> Iterator[Reranker]:
    with made.opened() as opened:
        yield opened


@pytest.fixture(scope="module")
def embedder(model: EmbedderModel, reranker: Reranker) -> Iterator[Running]:
    with running(model, reranker) as served:
        yield served


def asked(corpus: Corpus, *work_ids: str, row: int = 3, **changes: object) -> reranker_pb2.RerankRequest:
    pixels = pixels_message(RgbPixels.of(corpus.works[row].picture()))
    fields = {"pixels": pixels, "prompt": "a red ladybug", "work_ids": work_ids or corpus.ids, **changes}
    return reranker_pb2.RerankRequest(**fields)  # type: ignore[arg-type]


def test_scores_are_those_of_the_kernel_in_the_order_of_the_request_without_unknown_works(
    embedder: Running, made: Rerankable, reranker: Reranker, small_corpus: Corpus
) -> None:
    from creditline.embedder.reranker import RerankItem

    ids = (small_corpus.ids[9], "added-since", small_corpus.ids[2])

    answer = embedder.reranks.Rerank(asked(small_corpus, *ids, release=made.release.name), timeout=_SECONDS)

    direct = reranker.score(RerankItem(small_corpus.works[3].picture(), "a red ladybug", ids))
    assert [(work.id, work.score) for work in answer.works] == [
        (work_id, pytest.approx(direct.scores[work_id], rel=1e-4)) for work_id in (ids[0], ids[2])
    ]
    assert (answer.release, answer.rows) == (made.release.name, reranker.rows)
    assert answer.gradient_ms > answer.kernel_ms > 0.0
    assert embedder.metric('creditline_embedder_rerank_calls_total{code="OK"}') >= 1


def test_requests_that_cannot_be_answered_are_refused_with_a_sentence(
    embedder: Running, small_corpus: Corpus
) -> None:
    cut = embedder_pb2.Pixels(width=8, height=8, rgb=b"short")
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for request, code, message in (
        (
            asked(small_corpus, release="other"),
            grpc.StatusCode.NOT_FOUND,
            "release 'other' is not loaded here, 'development' is; request that one, or start an embedder"
            " with the other's CREDITLINE_RELEASE_DIRECTORY",
        ),
        (asked(small_corpus, *["x"] * 1001), invalid, "work_ids has 1001 entries; send 1 to 1,000"),
        (asked(small_corpus, prompt="x" * 2001), invalid, "prompt has 2,001 characters"),
        (asked(small_corpus, pixels=cut), invalid, "pixels: "),
        (asked(small_corpus, pixels=None), invalid, "pixels: "),
    ):
        status, details = embedder.refusal(request)
        assert (status, details[: len(message)]) == (code, message)
    status, details = embedder.refusal(asked(small_corpus, work_ids=()))
    assert (status, details) == (invalid, "work_ids has 0 entries; send 1 to 1,000")


def test_a_refused_query_is_freed_without_a_garbage_collection(
    embedder: Running, small_corpus: Corpus
) -> None:
    from creditline.embedder import reranker_service

    with no_collection():
        for _ in range(3):
            embedder.refusal(asked(small_corpus, release="other"))
        wait_until(
            lambda: held_requests(reranker_service, reranker_pb2.RerankRequest) == 0,
            "the requests are freed",
            seconds=5,
        )


def test_embeddings_go_on_while_a_query_is_re_ranked_and_the_queue_is_full(
    model: EmbedderModel, reranker: Reranker, small_corpus: Corpus
) -> None:
    held = Held(reranker)
    with running(model, held, embedder_rerank_queue=1) as embedder:
        first = embedder.reranks.Rerank.future(asked(small_corpus), timeout=_SECONDS)
        wait_until(
            lambda: embedder.metric("creditline_embedder_rerank_calls_in_flight") == 1, "first", _SECONDS
        )
        wait_until(lambda: embedder.metric("creditline_embedder_rerank_waiting") == 0, "taken", _SECONDS)
        second = embedder.reranks.Rerank.future(asked(small_corpus, row=4), timeout=_SECONDS)
        wait_until(lambda: embedder.metric("creditline_embedder_rerank_waiting") == 1, "queued", _SECONDS)

        status, details = embedder.refusal(asked(small_corpus, row=5))
        item = embedder_pb2.EmbedRequest.Item(image=small_corpus.works[0].thumbnail, text="a tree")
        embedded = embedder.embeds.Embed(
            embedder_pb2.EmbedRequest(items=[item], side=embedder_pb2.SIDE_QUERY), timeout=_SECONDS
        )

        assert status == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "limit of 1" in details
        assert len(embedded.vectors) == 1
        assert not first.done()
        held.gate.set()
        assert len(first.result().works) == len(second.result().works) == len(small_corpus)


def test_a_query_whose_deadline_passes_in_the_queue_is_dropped(
    model: EmbedderModel, reranker: Reranker, small_corpus: Corpus
) -> None:
    held = Held(reranker)
    with running(model, held) as embedder:
        first = embedder.reranks.Rerank.future(asked(small_corpus), timeout=_SECONDS)
        wait_until(
            lambda: embedder.metric("creditline_embedder_rerank_calls_in_flight") == 1, "first", _SECONDS
        )

        status, _ = embedder.refusal(asked(small_corpus, row=4), seconds=0.3)

        assert status == grpc.StatusCode.DEADLINE_EXCEEDED
        held.gate.set()
        assert len(first.result().works) == len(small_corpus)
        wait_until(lambda: embedder.metric("creditline_embedder_rerank_waiting") == 0, "dropped", _SECONDS)
        gradients = embedder.metric('creditline_embedder_rerank_seconds_count{part="gradient"}')
        assert gradients == 1


def test_a_query_that_is_being_re_ranked_is_answered_before_the_embedder_stops(
    model: EmbedderModel, reranker: Reranker, small_corpus: Corpus
) -> None:
    held = Held(reranker)
    with running(model, held, embedder_stop_grace_seconds=_SECONDS) as embedder:
        accepted = embedder.reranks.Rerank.future(asked(small_corpus), timeout=_SECONDS)
        wait_until(
            lambda: embedder.metric("creditline_embedder_rerank_calls_in_flight") == 1, "first", _SECONDS
        )
        embedder.stop()
        held.gate.set()

        assert len(accepted.result().works) == len(small_corpus)


def test_an_embedder_that_does_not_re_rank_has_no_such_service_and_does_not_load_diffusers(
    model: EmbedderModel, small_corpus: Corpus
) -> None:
    with running(model, None) as embedder:
        status, _ = embedder.refusal(asked(small_corpus))
    loaded = "import creditline.embedder.server, sys; print('diffusers' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)

    assert status == grpc.StatusCode.UNIMPLEMENTED
    assert process.stdout.strip() == "False"


def test_an_embedder_that_is_to_re_rank_by_a_release_without_rows_does_not_start(
    embedder_release: Release,
) -> None:
    named = {
        "CREDITLINE_RELEASE_DIRECTORY": str(embedder_release.directory),
        "CREDITLINE_EMBEDDER_RERANKS": "true",
    }
    process = subprocess.run(
        [sys.executable, "-m", "creditline.embedder"],
        env={**os.environ, **named},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert process.returncode == 2
    assert "has no gradient rows, so that works cannot be re-ranked; make them with" in process.stderr


def test_another_generator_than_that_of_the_release_is_refused(made: Rerankable, tmp_path: Path) -> None:
    from tests.generator_factory import random_generator

    other = random_generator(tmp_path / "other", seed=5)
    with pytest.raises(FingerprintMismatch, match=r"was made for generator .+; correct"):
        made.opened(generator_directory=other)


def test_adapters_of_the_settings_go_with_their_generator_and_those_of_the_release_with_its_own(
    made: Rerankable, tmp_path: Path
) -> None:
    """Neither file is an adapter, so that the refusal names the one that was read."""
    directory, ours, theirs = tmp_path / "release", tmp_path / "ours.bin", tmp_path / "theirs.bin"
    for file in (ours, theirs):
        file.write_bytes(b"no adapter")
    shutil.copytree(made.release.directory, directory)
    part = {
        "place": place_in(directory, made.generator),
        "fingerprint": made.release.generator_fingerprint,
        "adapters": [place_in(directory, theirs)],
    }
    release = write_manifest(directory, {**made.release.description, "parts": {"generator": part}})
    for generator, read in ((made.generator, ours), (None, theirs)):
        with pytest.raises(InvalidInput, match=read.name):
            Rerankable(release, made.generator).opened(
                generator_directory=generator, generator_adapters=str(ours)
            )
