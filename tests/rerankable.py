"""Releases that can be re-ranked, by real gradient rows of a small generator, and embedders that do so."""

from __future__ import annotations

import asyncio
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals
from creditline.calibration.reranking import Reranking
from creditline.release import ENCODER, RERANKING, RERANKING_ROWS, Release, file_sha256, write_manifest
from creditline.v1 import reranker_pb2
from creditline.v1.embedder_pb2_grpc import EmbedderStub
from creditline.v1.reranker_pb2_grpc import RerankerStub

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.embedder.reranker import Reranked, Reranker, RerankItem
    from creditline.encoder.model import EmbedderModel

_SECONDS = 60.0
# Far from those of answers by the cosine, so that a mix-up shows.
CURVE = Calibration((-3.0, 0.0, 5.0), (0.0, 0.01, 0.4), (0.001, 0.015, 0.4))
INTERVALS = AnswerIntervals(
    Intervals((-3.0, 5.0), (0.0, 0.1), (0.05, 0.6), 0.7),
    DeviationInterval(-0.5, 0.5),
    DeviationInterval(-0.5, 0.5),
)


@dataclass(frozen=True)
class Rerankable:
    """A release with gradient rows, and its generator."""

    release: Release
    """The release."""
    generator: Path
    """Directory of its generator."""

    def opened(self, **settings: object) -> Reranker:
        """What re-ranks it, as an embedder opens it."""
        from creditline.devices import PROCESSOR
        from creditline.embedder.reranker import Reranker
        from creditline.embedder.settings import EmbedderSettings

        named = {"generator_directory": self.generator, "release_directory": self.release.directory}
        return Reranker.open(EmbedderSettings(**{**named, **settings}), self.release, PROCESSOR)


def rerankable(release: Release, corpus: Corpus, generator: Path) -> Rerankable:
    """Add gradient rows to a release.

    Args:
        release: The release, which from then on names the generator.
        corpus: Its works.
        generator: Directory of the generator.
    """
    from creditline.attribution.reranking.building import build_rows
    from creditline.generator.pipeline import Generator

    directory = release.directory
    with Generator.open(generator) as opened:
        rows = build_rows(
            opened,
            corpus,
            directory.with_name(f"{directory.name}.rerank"),
            release=release.name,
            corpus=release.corpus_fingerprint,
        )
        fingerprint = opened.fingerprint
    rows.save(directory / RERANKING_ROWS)
    fitted_for = (file_sha256(directory / RERANKING_ROWS), release.files[ENCODER])
    reranking = Reranking(CURVE, INTERVALS, 0.5, 400, *fitted_for)
    (directory / RERANKING).write_text(reranking.to_json())
    named = {**release.description, "generator_fingerprint": fingerprint}
    return Rerankable(write_manifest(directory, named), generator)


@dataclass(frozen=True)
class Running:
    """An embedder that re-ranks."""

    target: str
    reranks: RerankerStub
    embeds: EmbedderStub
    metrics_url: str
    stop: Callable[[], None]

    def refusal(
        self, request: reranker_pb2.RerankRequest, seconds: float = _SECONDS
    ) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as raised:
            self.reranks.Rerank(request, timeout=seconds)
        return raised.value.code(), raised.value.details()

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(self.metrics_url, timeout=_SECONDS) as answer:
            found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])


class Held:
    """What re-ranks, but only while its gate is open."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self.rows = reranker.rows
        self.gate = threading.Event()

    def score(self, item: RerankItem) -> Reranked:
        assert self.gate.wait(_SECONDS)
        return self._reranker.score(item)


@contextmanager
def running(model: EmbedderModel, reranker: Reranker | Held | None, **settings: object) -> Iterator[Running]:
    from creditline.embedder.server import EmbedderServer
    from creditline.embedder.settings import EmbedderSettings

    chosen = EmbedderSettings(embedder_port=0, embedder_metrics_port=0, **settings)
    ports: list[tuple[int, int]] = []
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with EmbedderServer(chosen, model, reranker) as server:  # type: ignore[arg-type]
            ports.append((server.grpc_port, server.metrics_port))
            ready.set()
            await stop.wait()

    def end() -> None:
        loop.call_soon_threadsafe(stop.set)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(_SECONDS)
    target = f"127.0.0.1:{ports[0][0]}"
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        metrics_url = f"http://127.0.0.1:{ports[0][1]}/metrics"
        yield Running(target, RerankerStub(channel), EmbedderStub(channel), metrics_url, end)
        if isinstance(reranker, Held):
            reranker.gate.set()
        end()
        thread.join()
    loop.close()
