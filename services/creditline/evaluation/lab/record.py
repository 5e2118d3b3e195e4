"""The lab's record: which works each model saw, and how well it then knew each query. A few megabytes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from creditline.errors import InvalidInput, NotReady
from creditline.evaluation.lab.plan import LabPlan, LabQuery, draw_subsets, subset_jobs
from creditline.evaluation.lab.workshop import Workshop
from creditline.generator.pipeline import generator_fingerprint


@dataclass(frozen=True)
class LabRecord:
    """What the retrained models say.

    subsets: (M, N) bool, which works a model saw; losses: (M, seeds, Q, timesteps) float32, of the predicted
    noise; work_ids and queries name the columns; generator: fingerprint of the model of all works.
    """

    plan: LabPlan
    generator: str
    corpus: str
    work_ids: tuple[str, ...]
    queries: tuple[LabQuery, ...]
    subsets: NDArray[np.bool_]
    losses: NDArray[np.float32]

    def query_rows(self, kind: str) -> NDArray[np.intp]:
        """Rows of the queries of one kind ("generated" or "heldout")."""
        return np.flatnonzero([query.kind == kind for query in self.queries])

    def query_losses(self) -> NDArray[np.float64]:
        """Each query's loss under each model, averaged over timesteps: (M, seeds, Q) float64."""
        averaged: NDArray[np.float64] = self.losses.astype(np.float64).mean(axis=3)
        return averaged


def collect(workshop: Workshop) -> LabRecord:
    """The record of all subsets of which every seed is done. Raises NotReady when those are fewer than 2."""
    plan = workshop.plan
    jobs = subset_jobs(plan)
    by_subset = [jobs[start : start + plan.seeds] for start in range(0, len(jobs), plan.seeds)]
    done = [
        number
        for number, seeds in enumerate(by_subset)
        if all(workshop.losses(job).exists() for job in seeds)
    ]
    if len(done) < 2:
        raise NotReady(
            f"{workshop.directory} holds {len(done)} whole subsets; go on with `creditline lab train`",
            field="lab",
        )
    losses = [[np.load(workshop.losses(job)) for job in by_subset[number]] for number in done]
    return LabRecord(
        plan=plan,
        generator=generator_fingerprint(workshop.generator),
        corpus=workshop.works.fingerprint,
        work_ids=workshop.works.ids,
        queries=workshop.queries,
        subsets=draw_subsets(plan)[done],
        losses=np.array(losses, dtype=np.float32),
    )


def write_record(record: LabRecord, path: Path) -> None:
    """One safetensors file."""
    metadata = {
        "plan": json.dumps(record.plan.to_json()),
        "generator": record.generator,
        "corpus": record.corpus,
        "work_ids": json.dumps(record.work_ids),
        "queries": json.dumps([vars(query) for query in record.queries], ensure_ascii=False),
    }
    draft = path.with_suffix(".tmp")
    save_file({"subsets": record.subsets, "losses": record.losses}, draft, metadata=metadata)
    os.replace(draft, path)


def read_record(path: Path) -> LabRecord:
    """Raises NotReady when there is none, InvalidInput when it is cut off or holds a loss of no number."""
    if not path.is_file():
        raise NotReady(f"no lab record at {path}; make it with `creditline lab train`", field="lab")
    try:
        with safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata()
            subsets, losses = opened.get_tensor("subsets"), opened.get_tensor("losses")
    except Exception as error:
        raise InvalidInput(f"{path} is no whole lab record ({error}); fetch it again", field="lab") from error
    if not np.isfinite(losses).all():
        raise InvalidInput(f"{path} holds a loss that is no number; train that model again", field="lab")
    return LabRecord(
        plan=LabPlan.from_json(json.loads(metadata["plan"])),
        generator=metadata["generator"],
        corpus=metadata["corpus"],
        work_ids=tuple(json.loads(metadata["work_ids"])),
        queries=tuple(LabQuery(**query) for query in json.loads(metadata["queries"])),
        subsets=subsets,
        losses=losses,
    )
