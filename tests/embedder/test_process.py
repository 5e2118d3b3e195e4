"""The embedder as a process: starts from its environment, refuses wrong settings, stops on a signal."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditline.corpus.withdrawn import Withdrawn
from creditline.corpus.works import Corpus
from creditline.index import WorkIndex
from creditline.index.ingest.checkpoint import Counts
from creditline.local.health import grpc_serves
from creditline.release import Release, write_manifest
from creditline.teacher.ingest_jobs import IngestJob
from creditline.v1 import embedder_pb2 as proto
from creditline.v1.embedder_pb2_grpc import EmbedderStub
from tests.local.qdrant_process import local_qdrant

_START_SECONDS = 240


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(release: Path, **settings: object) -> tuple[subprocess.Popen[str], int]:
    port = free_port()
    environment = {
        **os.environ,
        "CREDITLINE_RELEASE_DIRECTORY": str(release),
        "CREDITLINE_EMBEDDER_PORT": str(port),
        "CREDITLINE_EMBEDDER_METRICS_PORT": "0",
        **{f"CREDITLINE_EMBEDDER_{name}": str(value) for name, value in settings.items()},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "creditline.embedder"], env=environment, stderr=subprocess.PIPE, text=True
    )
    return process, port


def write_source(works: Corpus, path: Path) -> Path:
    """A source of the works' captioned pictures, and of one that is cut."""
    columns = {
        "key": [*(work.id for work in works), "cut"],
        "caption": [*(work.caption for work in works), "a cut picture"],
        "png": pa.array([*(work.thumbnail for work in works), works.works[0].thumbnail[:200]], pa.binary()),
    }
    pq.write_table(pa.table(columns), path)
    return path


def await_first_forward(metrics_url: str) -> None:
    """Until the embedder has begun a forward: of a call with several batches, the first."""
    deadline = time.monotonic() + 60
    while forwards(metrics_url) == 0:
        assert time.monotonic() < deadline, "no forward within a minute"
        time.sleep(0.01)


def forwards(metrics_url: str) -> int:
    """Number of forwards that the embedder has begun."""
    text = httpx.get(metrics_url, trust_env=False).text
    count = re.search(r"^creditline_embedder_batch_size_count (\S+)", text, re.MULTILINE)
    assert count is not None
    return int(float(count[1]))


def await_serving(target: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not grpc_serves(target):
        assert time.monotonic() < deadline, "the embedder did not start"
        time.sleep(0.1)


def refused(release: Path, **settings: object) -> str:
    process, _ = start(release, **settings)
    _, said = process.communicate(timeout=_START_SECONDS)
    assert process.returncode == 2
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    return lines[0]


@pytest.mark.slow
def test_a_call_in_flight_is_answered_when_the_process_gets_a_stop_signal(
    embedder_release: Release, small_corpus: Corpus
) -> None:
    metrics = free_port()
    settings = {"STOP_GRACE_SECONDS": 60, "MAX_BATCH": 4, "METRICS_PORT": metrics}
    process, port = start(embedder_release.directory, **settings)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.enable_http_proxy", 0),)) as channel:
            grpc.channel_ready_future(channel).result(_START_SECONDS)
            items = [
                proto.EmbedRequest.Item(image=work.thumbnail, text=work.caption) for work in small_corpus
            ]
            call = EmbedderStub(channel).Embed.future(proto.EmbedRequest(items=items, side=proto.SIDE_WORK))
            await_first_forward(f"http://127.0.0.1:{metrics}/metrics")
            process.send_signal(signal.SIGTERM)
            assert len(call.result(120).vectors) == len(small_corpus)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.heavy
@pytest.mark.slow
def test_an_ingest_whose_embedder_is_killed_and_started_again_writes_every_work_once(
    embedder_release: Release, small_corpus: Corpus, tmp_path: Path
) -> None:
    metrics = free_port()
    settings = {"PORT": free_port(), "METRICS_PORT": metrics, "MAX_BATCH": 4}
    embedders = [start(embedder_release.directory, **settings)[0]]
    target = f"127.0.0.1:{settings['PORT']}"
    job = IngestJob(
        write_source(small_corpus, tmp_path / "works.parquet"), "works", tmp_path / "done", embedder=target
    )

    def kill_and_start_again() -> None:
        await_first_forward(f"http://127.0.0.1:{metrics}/metrics")
        embedders[0].kill()
        embedders[0].wait()
        embedders.append(start(embedder_release.directory, **settings)[0])

    killing = threading.Thread(target=kill_and_start_again)
    try:
        with local_qdrant(tmp_path / "qdrant") as qdrant, WorkIndex.connect(grpc_port=qdrant.port) as index:
            await_serving(target)
            job.create_collection(index)
            killing.start()
            report = job.run(index, Withdrawn())
            killing.join()
            assert report.run == Counts(written=len(small_corpus), broken=1)
            (broken,) = (tmp_path / "done").glob("*.broken.jsonl")
            assert "the picture cannot be decoded" in broken.read_text()
            assert index.count("works") == len(small_corpus)
        assert embedders[0].returncode == -signal.SIGKILL
        assert forwards(f"http://127.0.0.1:{metrics}/metrics") > 0
    finally:
        for process in embedders:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_a_release_of_other_towers_stops_the_start_with_one_sentence(
    embedder_release: Release, tmp_path: Path
) -> None:
    for path in embedder_release.directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_manifest(tmp_path, {**embedder_release.description, "towers_fingerprint": "d" * 64})
    assert "CREDITLINE_EMBEDDER_TOWERS" in refused(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "said"),
    [({"MAX_BATCH": 0}, "CREDITLINE_EMBEDDER_MAX_BATCH is '0'"), ({}, "no release at")],
)
def test_a_wrong_setting_or_a_missing_release_stops_the_start_with_one_sentence(
    settings: dict[str, object], said: str, tmp_path: Path
) -> None:
    assert said in refused(tmp_path, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "CREDITLINE_DEVICE is 'gpu'"),
        ("cuda:77", "CREDITLINE_DEVICE or --device is 'cuda:77', but that GPU is absent"),
    ],
)
def test_an_unknown_or_absent_device_stops_the_start_with_one_sentence(
    device: str, said: str, embedder_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDITLINE_DEVICE", device)
    assert refused(embedder_release.directory).startswith(f"creditline embedder: {said}")
