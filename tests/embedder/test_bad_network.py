"""What the gateway's client makes of an embedder behind a network that delays, swallows and cuts."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from creditline.corpus.works import Corpus, Work
from creditline.embedder_client.queries import EmbeddedQuery, EmbedderClient
from creditline.errors import DeadlineExceeded, Unavailable
from creditline.pictures.queries import query_pixels
from creditline.release import Release
from tests.faults.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from tests.embedder.conftest import Served

_PATIENT_SECONDS = 60.0
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def proxy(served: Served, proxy_to: Callable[[int], TcpProxy]) -> TcpProxy:
    return proxy_to(served.port)


@pytest.fixture
def work(small_corpus: Corpus) -> Work:
    return small_corpus.works[3]


async def _embed(
    client: EmbedderClient, release: Release, work: Work, seconds: float = _PATIENT_SECONDS
) -> EmbeddedQuery:
    return await client.embed(
        query_pixels(work.thumbnail),
        work.caption,
        release=release.name,
        dimension=release.dimension,
        deadline_seconds=seconds,
    )


def _forwards(served: Served) -> float:
    with _DIRECTLY.open(served.metrics_url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    name = "creditline_embedder_batch_size_count "
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


async def _one_more_forward(served: Served, before: float) -> None:
    async with asyncio.timeout(_PATIENT_SECONDS):
        while await asyncio.to_thread(_forwards, served) <= before:
            await asyncio.sleep(0.02)


@pytest.mark.heavy
def test_a_reply_delayed_past_the_deadline_ends_the_call_at_the_deadline(
    proxy: TcpProxy, embedder_release: Release, work: Work
) -> None:
    async def ask() -> tuple[EmbeddedQuery, float, EmbeddedQuery]:
        client = EmbedderClient(f"127.0.0.1:{proxy.port}")
        try:
            first = await _embed(client, embedder_release, work)
            proxy.delay(5.0)
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded, match=f"127.0.0.1:{proxy.port}"):
                await _embed(client, embedder_release, work, seconds=0.5)
            seconds = time.monotonic() - began
            proxy.heal()
            return first, seconds, await _embed(client, embedder_release, work)
        finally:
            await client.close()

    first, seconds, later = asyncio.run(ask())
    assert 0.4 < seconds < 4.0
    np.testing.assert_allclose(later.vector, first.vector, atol=1e-5)


def test_a_cut_before_the_reply_is_an_error_at_once_and_the_next_call_gets_an_answer(
    proxy: TcpProxy, served: Served, embedder_release: Release, work: Work
) -> None:
    async def ask() -> EmbeddedQuery:
        client = EmbedderClient(f"127.0.0.1:{proxy.port}")
        try:
            await _embed(client, embedder_release, work)
            before = _forwards(served)
            proxy.drop_replies()
            unanswered = asyncio.create_task(_embed(client, embedder_release, work))
            await _one_more_forward(served, before)
            assert not unanswered.done()
            proxy.cut()
            with pytest.raises(Unavailable) as refused:
                await asyncio.wait_for(unanswered, _PATIENT_SECONDS / 2)
            assert refused.value.service == "embedder"
            proxy.heal()
            return await _answer(client, embedder_release, work)
        finally:
            await client.close()

    vector = asyncio.run(ask()).vector
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


async def _answer(client: EmbedderClient, release: Release, work: Work) -> EmbeddedQuery:
    """The first answer after the network is whole again; a call meanwhile may still be refused."""
    async with asyncio.timeout(_PATIENT_SECONDS):
        while True:
            try:
                return await _embed(client, release, work)
            except Unavailable:
                await asyncio.sleep(0.05)
