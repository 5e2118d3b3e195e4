"""What a re-ranked answer takes beside a fast one and beside a gradient of the generator.

Run `OMP_NUM_THREADS=1 python -m tests.benchmarks.serving.rerank --release DIR` on a quiet machine (some
minutes), for a release with gradient rows, such as a copy of the reference release after `creditline release
rerank`. Three measurements take turns: a fast answer, a re-ranked answer to the same query, and one gradient
of the generator on the same query in this process: forward and backward passes of the re-ranking's draws, by
the plain library, without encoding and compression. Everything has one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from creditline.api.answers import AnswerForm
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.attribution.reranking.sketch import DEFAULT_SPACE
from creditline.client import CreditlineClient
from creditline.distillation.labels.label_set import HELD_OUT, LabelledQuery, read_labels
from creditline.generator.assembly import assemble_reference
from creditline.generator.losses import encoded_examples
from creditline.generator.pipeline import Generator
from creditline.local.stack import LocalStack
from tests.benchmarks.distillation_reference import LABELS
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "OMP_NUM_THREADS=1 python -m tests.benchmarks.serving.rerank --release DIR"
SEED = 0
_ROUNDS = 15
_WARM_UP = 2
_RESAMPLES = 2_000
_SECONDS = 300.0
_SERVICES = ("redis", "qdrant", "embedder", "gateway")
_RERANKS = "CREDITLINE_EMBEDDER_RERANKS"
_TIMEOUT = "CREDITLINE_REQUEST_TIMEOUT_SECONDS"


@contextmanager
def re_ranking_stack(release: Path, directory: Path) -> Any:
    """A local stack whose embedder re-ranks."""
    os.environ |= {_RERANKS: "true", _TIMEOUT: f"{_SECONDS:g}"}
    try:
        with LocalStack(
            state_directory=directory, release_directory=release, services=_SERVICES, device="cpu"
        ) as stack:
            yield stack
    finally:
        del os.environ[_RERANKS], os.environ[_TIMEOUT]


def gradient_of(generator: Generator, query: LabelledQuery) -> Callable[[], object]:
    """A call that takes one gradient of the generator on a query, which is encoded before."""
    layers = chosen_layers(generator.unet, DEFAULT_SPACE.parameters)
    examples = encoded_examples(generator, ["query"], [query.image()], [query.prompt])
    measure = gradient_target_by_name(DEFAULT_SPACE.measure)
    return lambda: per_sample_gradients(generator, examples, DEFAULT_SPACE.draws, layers, measure=measure)


def measured(
    client: CreditlineClient, generator: Generator, queries: Sequence[LabelledQuery]
) -> list[dict[str, Any]]:
    """Milliseconds of the three, in turns, for one query after another."""
    rows = []
    for number, query in enumerate(queries):
        calls: dict[str, Callable[[], object]] = {
            form.value.lower(): _answer(client, query, form) for form in AnswerForm
        }
        calls["gradient"] = gradient_of(generator, query)
        # Another one comes first each time.
        names = list(calls)[number % len(calls) :] + list(calls)[: number % len(calls)]
        rows.append({"round": number, **{name: _milliseconds(calls[name]) for name in names}})
        print(rows[-1], flush=True)
    return rows[_WARM_UP:]


def _answer(client: CreditlineClient, query: LabelledQuery, form: AnswerForm) -> Callable[[], object]:
    return lambda: client.attribute(query.picture, prompt=query.prompt, form=form, timeout_seconds=_SECONDS)


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def added_over_gradient(rows: Sequence[dict[str, Any]]) -> float:
    """Median of re-ranked answers less median of fast ones, over the median of gradients."""
    fast, reranked, gradient = (
        float(np.median([row[name] for row in rows])) for name in ("fast", "reranked", "gradient")
    )
    return (reranked - fast) / gradient


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """The ratio, with its interval by resampling rounds, and the three medians."""
    rng = np.random.default_rng(SEED)
    resampled = [
        added_over_gradient([rows[row] for row in rng.integers(0, len(rows), len(rows))])
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(resampled, (0.025, 0.975)).tolist()
    parts = {
        "fast": "fast answer, whole way through client and gateway; quartiles",
        "reranked": "re-ranked answer to the same query; quartiles",
        "gradient": "one gradient of the generator, passes alone; quartiles",
    }
    medians = {f"{name}_ms": _median([row[name] for row in rows], what) for name, what in parts.items()}
    return {
        "added_over_forward": Figure(
            added_over_gradient(rows),
            "ratio",
            low,
            high,
            "<= 1.5",
            "re-ranked − fast answer, over one gradient of the generator; one thread, alternating, medians of"
            f" {len(rows)} queries",
        ),
        **medians,
    }


def _median(milliseconds: Sequence[float], what: str) -> Figure:
    low, middle, high = np.quantile(milliseconds, (0.25, 0.5, 0.75)).tolist()
    return Figure(middle, "ms", low, high, None, what)


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", type=Path, required=True, help="release with gradient rows")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    labels = read_labels(LABELS)
    queries = [labels.queries[row] for row in labels.rows(HELD_OUT)[: _ROUNDS + _WARM_UP]]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with (
            re_ranking_stack(arguments.release, place / "stack") as stack,
            CreditlineClient(stack.gateway_target, api_key=stack.api_key) as client,
            Generator.open(assemble_reference(place / "generator")) as generator,
        ):
            rows = measured(client, generator, queries)
    found = figures(rows)
    for name, figure in found.items():
        print(f"{name}: {figure.value:.3f} ({figure.low} to {figure.high})  {figure.what}")
    write_result("rerank", COMMAND, SEED, found, rows, merge=True)


if __name__ == "__main__":
    main()
