"""Both clients of the embedder with several replicas behind one name, which come and go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from creditline.corpus.sources import Found
from creditline.corpus.works import Work
from creditline.embedder_client.queries import EmbedderClient
from creditline.embedder_client.works import WorkEmbedder
from creditline.errors import Unavailable
from creditline.pictures.queries import query_pixels
from creditline.retries import RetryPolicy
from tests.embedder_client.replicas import CONNECTION_AGE_SECONDS, Replicas, png, running_replicas

_THREE = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
_CALLS = 300
_SMALL = png()
# Larger than gRPC's default for requests that it keeps for a retry, 256 KiB.
_LARGE = png(400)
# The age, 10 % more, and what two busy cores need.
_FOUND_SECONDS = 10 * CONNECTION_AGE_SECONDS


@pytest.fixture
def replicas() -> Iterator[Replicas]:
    with running_replicas() as running:
        yield running


@pytest.fixture
def three(replicas: Replicas) -> Replicas:
    for address in _THREE:
        replicas.add(address)
    return replicas


async def _embed(client: EmbedderClient, replicas: Replicas, image: bytes = _SMALL) -> None:
    release = replicas.release
    embedded = await client.embed(
        query_pixels(image),
        "a red square",
        release=release.name,
        dimension=release.dimension,
        deadline_seconds=20.0,
    )
    assert embedded.vector[0] == 1.0


def _embed_queries(replicas: Replicas, calls: int, image: bytes = _SMALL) -> None:
    async def run() -> None:
        client = EmbedderClient(replicas.target)
        for _ in range(calls):
            await _embed(client, replicas, image)
        await client.close()

    asyncio.run(run())


def _found(works: int, image: bytes = _SMALL) -> list[Found]:
    work = Work("w", "", "a red square", (), "somebody", "", "", "", image)
    return [Found("part", row, work, None, None, "") for row in range(works)]


def _embed_works(replicas: Replicas, calls: int, image: bytes = _SMALL) -> None:
    with WorkEmbedder(replicas.target) as embedder:
        vectors = embedder.embed(_found(calls, image))
    assert [float(vector[0]) for vector in vectors] == [1.0] * calls


_CALLERS = [_embed_queries, _embed_works]
_LONG_SECONDS = 300.0


@pytest.mark.parametrize("embed", _CALLERS)
def test_calls_are_spread_over_all_replicas(three: Replicas, embed: Callable[..., None]) -> None:
    embed(three, _CALLS)
    assert sum(three.counts.values()) == _CALLS
    assert min(three.counts.values()) >= 0.25 * _CALLS, three.counts


@pytest.mark.parametrize("image", [_SMALL, _LARGE], ids=["small", "large"])
@pytest.mark.parametrize("embed", _CALLERS)
def test_a_call_that_one_replica_fails_is_answered_by_another(
    replicas: Replicas, embed: Callable[..., None], image: bytes
) -> None:
    # While the healthy replica's connection is replaced by age, only the broken one can be picked.
    broken = Unavailable("this replica is broken", service="embedder")
    replicas.add("127.0.0.2", error=broken, connection_age_seconds=_LONG_SECONDS)
    replicas.add("127.0.0.3", connection_age_seconds=_LONG_SECONDS)
    embed(replicas, 20, image)
    assert replicas.counts["127.0.0.3"] == 20
    assert replicas.counts["127.0.0.2"] >= 5


@contextmanager
def _calling(replicas: Replicas, callers: int = 3) -> Iterator[list[BaseException]]:
    """Query after query from several callers on one channel while the block runs; gives what went wrong."""
    ended, began, failures = threading.Event(), threading.Event(), list[BaseException]()

    async def call(client: EmbedderClient) -> None:
        while not ended.is_set():
            try:
                await _embed(client, replicas)
                began.set()
            except Exception as failure:
                failures.append(failure)

    async def run() -> None:
        client = EmbedderClient(replicas.target)
        await asyncio.gather(*(call(client) for _ in range(callers)))
        await client.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert began.wait(_FOUND_SECONDS)
        yield failures
    finally:
        ended.set()
        thread.join()


def _wait_for_calls(replicas: Replicas, address: str, calls: int = 10) -> None:
    """Until the replica has answered so many more calls."""
    wanted, limit = replicas.counts[address] + calls, time.monotonic() + _FOUND_SECONDS
    while replicas.counts[address] < wanted:
        assert time.monotonic() < limit, f"{address} is not called: {replicas.counts}"
        time.sleep(0.01)


@pytest.mark.heavy
@pytest.mark.parametrize("stop_grace_seconds", [5.0, 0.0], ids=["graceful", "abrupt"])
def test_no_call_fails_while_all_replicas_are_replaced_one_after_another(
    replicas: Replicas, stop_grace_seconds: float
) -> None:
    for address in _THREE:
        replicas.add(address, stop_grace_seconds=stop_grace_seconds)
    with _calling(replicas) as failures:
        for number, old in enumerate(_THREE):
            new = f"127.0.0.{5 + number}"
            replicas.add(new, stop_grace_seconds=stop_grace_seconds)
            _wait_for_calls(replicas, new)
            replicas.remove(old)
            _wait_for_calls(replicas, new)
    assert failures == []


def test_an_added_replica_gets_its_share(three: Replicas) -> None:
    with _calling(three) as failures:
        three.add("127.0.0.5")
        _wait_for_calls(three, "127.0.0.5")
        three.reset_counts()
        _wait_for_calls(three, "127.0.0.5", 100)
        counts = dict(three.counts)
    assert failures == []
    assert counts["127.0.0.5"] >= 0.15 * sum(counts.values()), counts


def test_an_embedder_that_is_away_is_reported_after_the_retries(replicas: Replicas) -> None:
    replicas.add("127.0.0.2")
    replicas.remove("127.0.0.2")
    started = time.monotonic()
    with pytest.raises(Unavailable, match="start it with `creditline local up`"):
        _embed_queries(replicas, 1)
    assert time.monotonic() - started < _FOUND_SECONDS


def test_an_ingest_waits_for_an_embedder_that_comes_back(replicas: Replicas) -> None:
    replicas.add("127.0.0.2")
    with WorkEmbedder(replicas.target) as embedder:
        replicas.remove("127.0.0.2")
        late = threading.Timer(1.0, replicas.add, ["127.0.0.2"])
        late.start()
        vectors = embedder.embed(_found(3))
        late.join()
    assert [float(vector[0]) for vector in vectors] == [1.0] * 3


def test_an_ingest_gives_an_absent_embedder_up_when_its_retries_end(replicas: Replicas) -> None:
    replicas.add("127.0.0.2")
    with WorkEmbedder(replicas.target, RetryPolicy(max_seconds=0.3)) as embedder:
        replicas.remove("127.0.0.2")
        with pytest.raises(Unavailable, match="start it with `creditline local up`"):
            embedder.embed(_found(3))
