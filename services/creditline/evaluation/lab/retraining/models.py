"""Retraining of the lab's models in parallel: one process per core, with one thread each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch.multiprocessing.spawn import spawn

from creditline.corpus.works import Corpus
from creditline.device_setting import CPU
from creditline.evaluation.lab.plan import LabPlan, subset_jobs
from creditline.evaluation.lab.retraining.workshop import Workshop, prepare, train_models


def retrain(
    directory: Path,
    corpus: Corpus,
    plan: LabPlan,
    *,
    subsets: int,
    workers: int,
    report: Callable[[str], None],
    device: str = CPU,
) -> None:
    """Train all models of the first subsets.

    An interrupted run resumes at the first missing model. The worker processes end with their parent.

    Args:
        directory: The lab's directory.
        corpus: The corpus from which the lab's works are drawn.
        plan: Sizes and seeds of the lab.
        subsets: Number of subsets, from the first.
        workers: Number of processes.
        report: Receives progress lines of the preparation.
        device: Device on which the models run.

    Raises:
        FingerprintMismatch: The directory was started with another plan or corpus.
    """
    prepare(Workshop.open(directory, corpus, plan, device=device), report)
    spread(_retrain_share, (directory, corpus, plan, subsets, workers, device), workers)


def spread(share: Callable[..., None], arguments: tuple[object, ...], workers: int) -> None:
    """Run a function in several processes; a single worker runs in this process.

    Args:
        share: Called as `share(worker, *arguments)`, with the worker's number from 0.
        arguments: Further arguments, which must be picklable.
        workers: Number of processes.
    """
    if workers == 1:
        share(0, *arguments)
    else:
        spawn(share, arguments, nprocs=workers)


def _retrain_share(
    worker: int, directory: Path, corpus: Corpus, plan: LabPlan, subsets: int, workers: int, device: str
) -> None:
    """Train every `workers`-th model, starting with number `worker`."""
    torch.set_num_threads(1)
    jobs = subset_jobs(plan)[: subsets * plan.seeds][worker::workers]
    train_models(
        Workshop.open(directory, corpus, plan, device=device),
        jobs,
        lambda line: print(f"{worker}: {line}", flush=True),
    )
