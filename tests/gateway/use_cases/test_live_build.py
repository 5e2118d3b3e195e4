"""The build that answers: how many works it holds, and that one that cannot serve the release is named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.corpus.openclipart import embedded_corpus
from creditline.errors import NotReady, Unavailable
from creditline.gateway.use_cases.live_build import AnsweringBuild, LiveBuild
from creditline.gateway.use_cases.releases import ServedRelease, open_served_release
from creditline.index import WorkIndex, WorkSearch, index_release
from creditline.index.builds.promotion import builds
from creditline.release import Release
from tests.gateway.conftest import gateway_settings, running_gateway
from tests.index.works_made_up import made_up_works, unit_vectors
from tests.local.qdrant_process import local_qdrant


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with local_qdrant(tmp_path_factory.mktemp("qdrant")) as running:
        yield running.port


@pytest.fixture
def index(port: int, release: Release) -> Iterator[WorkIndex]:
    """The release's build is live."""
    with WorkIndex.connect(grpc_port=port) as connected:
        index_release(release, embedded_corpus(), connected)
        yield connected
        for build in builds(connected, release.collection):
            connected.delete(build)


@pytest.fixture(scope="module")
def served_release(release: Release) -> ServedRelease:
    return open_served_release(release, embedded_corpus())


def _now(port: int, release: ServedRelease) -> AnsweringBuild:
    async def ask() -> AnsweringBuild:
        async with WorkSearch.connect(grpc_port=port) as search:
            return await LiveBuild(release, search).now(deadline_seconds=30)

    return asyncio.run(ask())


def _switch_behind_our_back(index: WorkIndex, release: Release, vectors: NDArray[np.float32]) -> str:
    """A build of these vectors, live without a check, as an operator's own client can make it."""
    name = f"{release.collection}.77"
    index.create(name, vectors.shape[1])
    works = made_up_works(vectors)
    ids = release.work_ids()
    index.upsert(name, [replace(each, work_id=ids[row]) for row, each in enumerate(works)])
    index.point_aliases({release.collection: name})
    return name


def test_the_number_of_works_is_that_of_the_build(
    index: WorkIndex, port: int, release: Release, served_release: ServedRelease
) -> None:
    assert _now(port, served_release) == AnsweringBuild(f"{release.collection}.1", release.works)
    index.upsert(release.collection, made_up_works(unit_vectors(7, release.dimension)))
    assert _now(port, served_release).works == release.works + 7
    index.remove(release.collection, release.work_ids()[:10])
    assert _now(port, served_release).works == release.works - 3


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((60, 8), "8 dimensions, those of the release 16"),
        ((60, 16), "another encoder"),
        ((0, 16), "is empty"),
    ],
)
def test_answers_and_readiness_name_a_build_that_cannot_serve(
    index: WorkIndex,
    port: int,
    release: Release,
    served_release: ServedRelease,
    tmp_path: Path,
    shape: tuple[int, int],
    why: str,
) -> None:
    with running_gateway(gateway_settings(tmp_path, release, qdrant_grpc_port=port)) as gateway:

        def qdrant_state() -> dict[str, object]:
            with gateway.http() as http:
                states = {each["service"]: each for each in http.get("/readyz").json()["dependencies"]}
            return dict(states["qdrant"])

        assert qdrant_state()["up"]
        name = _switch_behind_our_back(index, release, unit_vectors(*shape, seed=3))
        with pytest.raises(NotReady, match=why) as refused:
            _now(port, served_release)
        assert name in refused.value.message
        assert "creditline index" in refused.value.message
        _until(lambda: not qdrant_state()["up"])
        assert qdrant_state()["message"] == refused.value.message
        index.point_aliases({release.collection: f"{release.collection}.1"})
        _until(lambda: bool(qdrant_state()["up"]))


def _until(holds: Callable[[], bool], *, seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_failed_or_cancelled_check_is_not_shared(
    index: WorkIndex, port: int, release: Release, served_release: ServedRelease
) -> None:
    async def ask() -> tuple[list[AnsweringBuild | BaseException], AnsweringBuild]:
        async with WorkSearch.connect(grpc_port=port) as search:
            build = LiveBuild(served_release, search, state_seconds=0.0)
            callers = [asyncio.ensure_future(build.now(deadline_seconds=30)) for _ in range(20)]
            for number, caller in enumerate(callers):
                await asyncio.sleep(0)
                if number % 2:
                    caller.cancel()
            answers = await asyncio.gather(*callers, return_exceptions=True)
            return answers, await build.now(deadline_seconds=30)

    answers, last = asyncio.run(ask())
    right = AnsweringBuild(f"{release.collection}.1", release.works)
    assert answers[::2] == [right] * 10
    assert all(isinstance(each, asyncio.CancelledError) for each in answers[1::2])
    assert last == right


def test_without_qdrant_each_caller_gets_an_error(served_release: ServedRelease) -> None:
    with pytest.raises(Unavailable, match="Qdrant does not answer"):
        _now(9, served_release)
