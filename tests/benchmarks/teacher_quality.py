"""Measures the teacher: does it forget the query and little else, does it find a picture that was trained on,
and how near does its first-order limit come to real unlearning?

Run `python -m tests.benchmarks.teacher_quality` (about 15 minutes, 2 cores).
"""

from __future__ import annotations

import argparse
import hashlib
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from creditline.attribution.unlearning.teacher import (
    QUERY_DRAWS,
    Query,
    Teacher,
    encode_queries,
    open_teacher,
)
from creditline.evaluation.bootstrap import bootstrap_mean
from creditline.generator.losses import noisy_batch
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from tests.benchmarks.reference_parts import generator_directory, parts_arguments, prepared_teacher
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result

SEED = 7
WORKS = 400
GENERATED_QUERIES = 10
SELF_QUERIES = 20
TOP = 4
PASS_RATE_WORKS = 96
PASS_RATE_RUNS = 5
_RUNS = REPOSITORY / "runs" / "teacher-quality"
COMMAND = "python -m tests.benchmarks.teacher_quality"


@dataclass(frozen=True)
class Plan:
    """Which works are scored, which captions are prompts, which works are queries themselves."""

    rows: list[int]
    prompt_rows: list[int]
    self_rows: list[int]


def make_plan(works: int) -> Plan:
    """400 random works; prompts from works outside them; self queries among them."""
    order = np.random.default_rng(SEED).permutation(works)
    rows = sorted(int(row) for row in order[:WORKS])
    prompts = [int(row) for row in order[WORKS : WORKS + GENERATED_QUERIES]]
    return Plan(rows, prompts, [int(row) for row in order[:SELF_QUERIES]])


class _Worker:
    """One process's teacher, and where what it measured is kept."""

    teacher: Teacher | None = None
    kept = _RUNS


def _open(generator: Path, artifacts: Path) -> None:
    torch.set_num_threads(1)
    opened = Generator.open(generator)
    _Worker.teacher = open_teacher(opened, reference_corpus(), artifacts)
    statistics = (artifacts / "statistics.safetensors").read_bytes()
    _Worker.kept = _RUNS / hashlib.sha256(statistics + repr(QUERY_DRAWS).encode()).hexdigest()[:16]


def _unlearn(query: Query, rows: list[int]) -> dict[str, Any]:
    """Unlearn one query; what an earlier, interrupted run of the same teacher measured is read."""
    assert _Worker.teacher is not None
    kept = _Worker.kept / f"{query.id}.npz"
    if not kept.is_file():
        result = _Worker.teacher.influence(query, rows)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            kept,
            values=result.values,
            rise=result.query_rise,
            query_change=result.query_loss_after - result.query_loss_before,
            seconds=result.seconds,
        )
    with np.load(kept) as stored:
        return {
            "query": query.id,
            "values": stored["values"],
            **{name: float(stored[name]) for name in ("rise", "query_change", "seconds")},
        }


def _queries(generator: Generator, plan: Plan) -> list[Query]:
    corpus = reference_corpus()
    captions = [corpus.works[row].caption for row in plan.prompt_rows]
    pictures = generator.sample(captions, list(range(9000, 9000 + len(captions))))
    generated = [
        Query(f"generated-{index}", picture, caption)
        for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True))
    ]
    selves = [
        Query(f"self-{corpus.ids[row]}", corpus.works[row].picture(), corpus.works[row].caption)
        for row in plan.self_rows
    ]
    return generated + selves


def _pass_rate(teacher: Teacher) -> tuple[float, list[float]]:
    """The teacher's forwards per second over those of the bare UNet on ready-made inputs: median and runs."""
    draws = teacher.origin.draws
    rows = list(range(PASS_RATE_WORKS))
    works = teacher.works.rows(rows)
    query = encode_queries(teacher.generator, [Query("rate", reference_corpus().works[0].picture(), "rate")])
    step = teacher.unlearn_encoded(query)
    batch = noisy_batch(teacher.generator, works.rows(range(64 // len(draws))), draws)
    ratios = []
    for _ in range(PASS_RATE_RUNS):
        started = time.perf_counter()
        teacher.influence_after(step, rows)
        whole = len(rows) * len(draws) / (time.perf_counter() - started)
        started, passes = time.perf_counter(), 0
        with torch.no_grad():
            while passes < len(rows) * len(draws):
                teacher.generator.unet(batch.inputs, batch.timesteps, batch.text)
                passes += len(batch.timesteps)
        ratios.append(whole / (passes / (time.perf_counter() - started)))
    return float(np.median(ratios)), ratios


def _self_hits(results: list[dict[str, Any]], plan: Plan, *, shuffled: bool) -> np.ndarray:
    random = np.random.default_rng(SEED + 1)
    hits = []
    for result, row in zip(results, plan.self_rows, strict=True):
        values = random.permutation(result["values"]) if shuffled else result["values"]
        own = plan.rows.index(row)
        hits.append(float((values > values[own]).sum() < TOP))
    return np.array(hits)


def main() -> None:
    """Measure and merge into `main-job.json`."""
    parser = parts_arguments(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.workers)
    arguments.generator = generator_directory(arguments.generator)
    with Generator.open(arguments.generator) as generator:
        teacher = prepared_teacher(generator, arguments.artifacts)
        plan = make_plan(len(reference_corpus()))
        queries = _queries(generator, plan)
        pass_rate, pass_rates = _pass_rate(teacher)
        print(f"pass rate {pass_rate:.3f}", flush=True)
        first_order = teacher.first_order(encode_queries(generator, queries[:GENERATED_QUERIES]))[
            :, plan.rows
        ]
        print("first order done", flush=True)
    results = _unlearn_all(arguments, queries, plan)
    generated, selves = results[:GENERATED_QUERIES], results[GENERATED_QUERIES:]
    correlations = np.array(
        [
            spearmanr(first, result["values"]).statistic
            for first, result in zip(first_order, generated, strict=True)
        ]
    )
    _write(plan, generated, selves, correlations, (pass_rate, min(pass_rates), max(pass_rates)))


def _unlearn_all(arguments: argparse.Namespace, queries: list[Query], plan: Plan) -> list[dict[str, Any]]:
    results = []
    with ProcessPoolExecutor(
        arguments.workers, get_context("spawn"), _open, (arguments.generator, arguments.artifacts)
    ) as pool:
        for result in pool.map(_unlearn, queries, [plan.rows] * len(queries)):
            results.append(result)
            print(f"{result['query']}: rise {result['rise']:.3f}, {result['seconds']:.0f} s", flush=True)
    return results


def _write(
    plan: Plan,
    generated: list[dict[str, Any]],
    selves: list[dict[str, Any]],
    correlations: np.ndarray,
    pass_rate: tuple[float, float, float],
) -> None:
    ratios = np.array([result["values"].mean() / result["query_change"] for result in generated])
    rises = np.array([result["rise"] for result in generated])
    hits = _self_hits(selves, plan, shuffled=False)
    shuffled = _self_hits(selves, plan, shuffled=True)

    def figure(values: np.ndarray, target: str, what: str) -> Figure:
        interval = bootstrap_mean(values, seed=SEED)
        return Figure(interval.value, "", interval.low, interval.high, target, what)

    figures = {
        "unlearned_query_rise": figure(
            rises, ">= 1.05", "query's loss after unlearning over before, fresh noise"
        ),
        "random_work_change_ratio": figure(
            ratios, "<= 0.2", "mean change of 400 random works' losses over the query's"
        ),
        "self_retrieval": figure(hits, ">= 0.9", "20 queries that are works: in the top 4 of 400"),
        "self_retrieval_shuffled": figure(shuffled, "<= 0.1", "the same with scores shuffled (control)"),
        "first_order_spearman": figure(
            correlations, ">= 0.8", "first-order teacher against real unlearning, 10 queries × 400 works"
        ),
        "teacher_pass_rate": Figure(
            pass_rate[0],
            "",
            pass_rate[1],
            pass_rate[2],
            ">= 0.8",
            "teacher's forwards per second over the bare UNet's",
        ),
    }
    rows = [
        {
            "query": result["query"],
            "rise": result["rise"],
            "work_change_over_query": float(ratio),
            "first_order_spearman": float(correlation),
            "seconds": result["seconds"],
        }
        for result, ratio, correlation in zip(generated, ratios, correlations, strict=True)
    ]
    rows += [
        {
            "query": result["query"],
            "rise": result["rise"],
            "in_top_4": bool(hit),
            "seconds": result["seconds"],
        }
        for result, hit in zip(selves, hits, strict=True)
    ]
    write_result("main-job", COMMAND, SEED, figures, rows, merge=True)


if __name__ == "__main__":
    main()
