"""Measures the main job's speed: Attribute through all services beside its bare parts and the teacher.

Run `python -m tests.benchmarks.service_speed` on a quiet machine (about 6 minutes on 2 cores).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from qdrant_client import QdrantClient

from creditline.attribution.unlearning.teacher import Query
from creditline.client import NO_RETRIES, CreditlineClient
from creditline.corpus.works import Corpus
from creditline.encoder.encoder import Encoder, Side
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from creditline.local.stack import LocalStack
from creditline.release import Release, open_release, reference_release_directory
from creditline.towers.towers import Towers
from tests.benchmarks.reference_parts import generator_directory, parts_arguments, prepared_teacher
from tests.benchmarks.result_files import Figure, write_result

SEED = 3
RUNS = 5
CALLS_PER_RUN = 30
WARM_UP_CALLS = 10
TOP = 10
COMMAND = "python -m tests.benchmarks.service_speed"


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def paired_medians(first: Callable[[], object], second: Callable[[], object]) -> list[tuple[float, float]]:
    """Medians of both, run by run, their calls taking turns so that a slow moment meets both."""
    for _ in range(WARM_UP_CALLS):
        first()
        second()
    medians = []
    for _ in range(RUNS):
        pairs = [(timed(first), timed(second)) for _ in range(CALLS_PER_RUN)]
        medians.append((statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)))
    return medians


class BareParts:
    """Encoder forward and index query with nothing around them."""

    def __init__(self, release: Release, qdrant: QdrantClient) -> None:
        self._towers = Towers.open()
        self._encoder = Encoder.load(release.directory / "encoder.safetensors")
        self._release = release
        self._qdrant = qdrant

    def __call__(self, picture: Image.Image, prompt: str) -> None:
        features = self._towers.features([picture], [prompt])
        vector = self._encoder.encode_features(features, Side.QUERY)[0]
        self._qdrant.query_points(self._release.collection, query=vector.tolist(), limit=TOP)


def measure_calls(generator: Generator, corpus: Corpus) -> list[tuple[float, float]]:
    """(Attribute through the gateway, bare encoder + bare index query): median seconds of each run."""
    prompt = corpus.works[5].caption
    picture = generator.sample([prompt], [SEED])[0]
    release = open_release(reference_release_directory())
    with (
        tempfile.TemporaryDirectory() as state,
        LocalStack(state_directory=Path(state), services=("qdrant", "redis", "embedder", "gateway")) as stack,
        CreditlineClient(stack.gateway_target, api_key=stack.api_key, retries=NO_RETRIES) as client,
    ):
        host, port = stack.qdrant_target.rsplit(":", 1)
        bare = BareParts(release, QdrantClient(host=host, grpc_port=int(port), prefer_grpc=True))
        return paired_medians(
            lambda: client.attribute(picture, prompt=prompt, generator=generator.fingerprint, k=TOP),
            lambda: bare(picture, prompt),
        )


def measure_teacher(generator: Generator, corpus: Corpus, artifacts: Path) -> float:
    """Seconds of real unlearning and scoring of every work, one query."""
    teacher = prepared_teacher(generator, artifacts)
    teacher.works.all()
    prompt = corpus.works[5].caption
    picture = generator.sample([prompt], [SEED])[0]
    return teacher.influence(Query("speed", picture, prompt), range(len(corpus))).seconds


def main() -> None:
    """Measure and merge into `main-job.json`."""
    arguments = parts_arguments(__doc__).parse_args()
    torch.set_num_threads(2)
    corpus = reference_corpus()
    with Generator.open(generator_directory(arguments.generator)) as generator:
        calls = measure_calls(generator, corpus)
        ratios = [gateway / bare for gateway, bare in calls]
        print(f"attribute over bare {statistics.median(ratios):.3f}", flush=True)
        teacher_seconds = measure_teacher(generator, corpus, arguments.artifacts)
    attribute_seconds = statistics.median(gateway for gateway, _ in calls)
    speedups = [teacher_seconds / gateway for gateway, _ in calls]
    figures = {
        "attribute_over_bare_p50": Figure(
            statistics.median(ratios),
            "",
            min(ratios),
            max(ratios),
            "<= 2",
            "Attribute through the gateway over bare encoder forward + bare index query, one caller",
        ),
        "attribute_p50_ms": Figure(
            attribute_seconds * 1000,
            "ms",
            min(gateway for gateway, _ in calls) * 1000,
            max(gateway for gateway, _ in calls) * 1000,
            None,
            "Attribute through the gateway, one caller",
        ),
        "teacher_speedup": Figure(
            teacher_seconds / attribute_seconds,
            "",
            min(speedups),
            max(speedups),
            ">= 1000",
            "seconds of the teacher over seconds of Attribute, same works",
        ),
    }
    rows = [
        {"run": run, "attribute_ms": gateway * 1000, "bare_ms": bare * 1000, "ratio": gateway / bare}
        for run, (gateway, bare) in enumerate(calls)
    ]
    rows.append({"teacher_seconds": teacher_seconds, "works": len(corpus)})
    write_result("main-job", COMMAND, SEED, figures, rows, merge=True)
    for key, figure in figures.items():
        print(f"{key}: {np.round(figure.value, 4)} (target {figure.target})")


if __name__ == "__main__":
    main()
