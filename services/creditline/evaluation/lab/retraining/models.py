"""Retrains the lab's models side by side: one process per core, one thread each."""

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
    """Train all models of the first `subsets` subsets, resuming at any model. Killed with its parent."""
    prepare(Workshop.open(directory, corpus, plan, device=device), report)
    spread(_retrain_share, (directory, corpus, plan, subsets, workers, device), workers)


def spread(share: Callable[..., None], arguments: tuple[object, ...], workers: int) -> None:
    """Run `share(worker, *arguments)` in each of `workers` processes; in this one where it is only one."""
    if workers == 1:
        share(0, *arguments)
    else:
        spawn(share, arguments, nprocs=workers)


def _retrain_share(
    worker: int, directory: Path, corpus: Corpus, plan: LabPlan, subsets: int, workers: int, device: str
) -> None:
    """Every `workers`-th model, beginning with number `worker`."""
    torch.set_num_threads(1)
    jobs = subset_jobs(plan)[: subsets * plan.seeds][worker::workers]
    train_models(
        Workshop.open(directory, corpus, plan, device=device),
        jobs,
        lambda line: print(f"{worker}: {line}", flush=True),
    )
