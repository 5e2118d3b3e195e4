"""The lab's record: which works each model saw, and how well it then knew each query. A few megabytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput, NotReady
from creditline.evaluation.lab.plan import LabPlan, LabQuery, draw_subsets, subset_jobs
from creditline.evaluation.lab.retraining.workshop import Workshop
from creditline.evaluation.lab.tensor_file import read_arrays, write_arrays
from creditline.evaluation.lds import Retrained
from creditline.generator.pipeline import generator_fingerprint

# "noise": the error of the predicted noise, as in the papers, where the few timesteps at which the picture is
# almost clean make up most of the sum and vary least with the training works; "relative": each timestep's
# error in units of its mean over models and queries, so that all timesteps count alike.
LossUnit = Literal["noise", "relative"]
_ARRAYS = ("subsets", "losses", "pictures", "latents")


@dataclass(frozen=True)
class LabRecord:
    """What the retrained models say.

    subsets: (M, N) bool, which works a model saw; losses: (M, seeds, Q, timesteps) float32, of the predicted
    noise; work_ids and queries name the columns; generator: fingerprint of the model of all works; pictures:
    (G, H, W, 3) uint8, those that it made (generated queries come first); latents: (Q, C, H, W) float32, of
    all queries.
    """

    plan: LabPlan
    generator: str
    corpus: str
    work_ids: tuple[str, ...]
    queries: tuple[LabQuery, ...]
    subsets: NDArray[np.bool_]
    losses: NDArray[np.float32]
    pictures: NDArray[np.uint8]
    latents: NDArray[np.float32]

    def query_rows(self, kind: str) -> NDArray[np.intp]:
        """Rows of the queries of one kind ("generated" or "heldout")."""
        return np.flatnonzero([query.kind == kind for query in self.queries])

    def spread_rows(self, count: int, kinds: Sequence[str] = ("generated", "heldout")) -> list[int]:
        """`count` queries of each of these kinds, every so many; all where it is 0."""
        chosen: list[int] = []
        for kind in kinds:
            rows = self.query_rows(kind)
            stride = max(1, len(rows) // count) if count else 1
            chosen += [int(row) for row in rows[::stride][: count or len(rows)]]
        return chosen

    def retrained(self, kind: str, unit: LossUnit = "relative") -> Retrained:
        """The subsets with the losses of the queries of one kind, averaged over timesteps in that unit."""
        weights = self.timestep_weights(unit)
        losses = (self.losses[:, :, self.query_rows(kind)].astype(np.float64) * weights).mean(axis=3)
        return Retrained(self.subsets.astype(np.float64), losses)

    def timestep_weights(self, unit: LossUnit) -> NDArray[np.float64]:
        """What the loss of the noise at each timestep counts for: (timesteps,)."""
        if unit == "noise":
            return np.ones(self.losses.shape[3])
        mean: NDArray[np.float64] = self.losses.astype(np.float64).mean(axis=(0, 1, 2))
        return 1.0 / mean


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
    generated = [query.kind == "generated" for query in workshop.queries].count(True)
    losses = [[np.load(workshop.losses(job)) for job in by_subset[number]] for number in done]
    return LabRecord(
        plan=plan,
        generator=generator_fingerprint(workshop.generator),
        corpus=workshop.works.fingerprint,
        work_ids=workshop.works.ids,
        queries=workshop.queries,
        subsets=draw_subsets(plan)[done],
        losses=np.array(losses, dtype=np.float32),
        pictures=np.stack([np.asarray(picture) for picture in workshop.pictures()[:generated]]),
        latents=workshop.examples().latents.numpy(),
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
    write_arrays(path, {name: getattr(record, name) for name in _ARRAYS}, metadata)


def read_record(path: Path) -> LabRecord:
    """Raises NotReady when there is none, InvalidInput when it is cut off or holds a loss of no number."""
    arrays, metadata = read_arrays(path, what="lab record", command="creditline lab train")
    if not np.isfinite(arrays["losses"]).all():
        raise InvalidInput(f"{path} holds a loss that is no number; train that model again", field="lab")
    return LabRecord(
        plan=LabPlan.from_json(json.loads(metadata["plan"])),
        generator=metadata["generator"],
        corpus=metadata["corpus"],
        work_ids=tuple(json.loads(metadata["work_ids"])),
        queries=tuple(LabQuery(**query) for query in json.loads(metadata["queries"])),
        **{name: arrays[name] for name in _ARRAYS},
    )
