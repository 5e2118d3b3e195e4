"""The record of exact effects: of each work on each query, with the sets that were left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput
from creditline.evaluation.lab.exact.plan import ExactPlan, LeftOut
from creditline.evaluation.lab.exact.workshop import ExactWorkshop
from creditline.evaluation.lab.plan import LabQuery
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lab.setting import REFERENCE
from creditline.generator.fingerprint import generator_fingerprint
from creditline.tensor_files import read_artifact, write_arrays

EXACT = REFERENCE / "exact"
WHOLE = "nothing"
_ARRAYS = ("effects", "losses", "pictures", "latents")


@dataclass(frozen=True)
class ExactRecord:
    """Exact effects of the works on the queries of one trained model, with their verification."""

    plan: ExactPlan
    """Sizes and seeds of the training."""
    generator: str
    """Fingerprint of the trained model, whose pictures are the queries."""
    corpus: str
    """Fingerprint of the works."""
    queries: tuple[LabQuery, ...]
    """(Q,) queries."""
    sets: tuple[LeftOut, ...]
    """(R,) sets of works that were left out of the training."""
    effects: NDArray[np.float64]
    """(E, N) float64, for the first E queries, the predicted rise of the loss when a work is left out: minus
    the derivative with respect to the work's weight."""
    losses: NDArray[np.float64]
    """(1 + R, Q) float64, relative losses under the training of all works, then without each set."""
    pictures: NDArray[np.uint8]
    """(Q, H, W, 3) uint8, pictures of the queries."""
    latents: NDArray[np.float32]
    """(Q, C, H, W) float32, latents of the queries."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.effects).all() and np.isfinite(self.losses).all()):
            raise InvalidInput("an exact effect or a loss is NaN or infinite; make it again", field="exact")

    def predicted(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums of scores over each set: (R, queries) float64.

        Args:
            scores: (queries, N) float64, of the first queries.
        """
        return np.stack([scores[:, list(one.rows)].sum(axis=1) for one in self.sets])

    def measured(self, queries: int) -> NDArray[np.float64]:
        """Rise of the loss of each of the first queries without each set: (R, queries) float64."""
        return (self.losses[1:] - self.losses[0])[:, :queries]


def collect(
    workshop: ExactWorkshop, lab: LabRecord, groups: int, sets: int, report: Callable[[str], None]
) -> ExactRecord:
    """Collect the record of some groups of queries and some sets; what is missing for it is made.

    Args:
        workshop: The open directory.
        lab: The record of the lab whose works are trained on.
        groups: Number of groups of queries, from the first.
        sets: Number of sets of works, from the first.
        report: Receives progress lines.
    """
    effects, losses = workshop.effects(groups, report), []
    left_out = workshop.sets(report)[:sets]
    for number, one in enumerate([LeftOut(WHOLE, WHOLE, ()), *left_out]):
        losses.append(workshop.losses_without(one.rows, one.name))
        report(f"trained without {one.name} ({number} of {len(left_out)})")
    stored = workshop.pictures()
    with workshop.open_generator() as generator:
        directory = generator.directory
    return ExactRecord(
        plan=workshop.plan,
        generator=generator_fingerprint(directory),
        corpus=lab.corpus,
        queries=workshop.queries,
        sets=tuple(left_out),
        effects=-effects,
        losses=np.stack(losses),
        pictures=stored["pictures"].astype(np.uint8),
        latents=stored["latents"].astype(np.float32),
    )


def write_exact(record: ExactRecord, path: Path) -> None:
    """Write a record as a safetensors file; its directory is created."""
    metadata = {
        "plan": json.dumps(record.plan.to_json()),
        "generator": record.generator,
        "corpus": record.corpus,
        "queries": json.dumps([asdict(query) for query in record.queries], ensure_ascii=False),
        "sets": json.dumps([asdict(one) for one in record.sets]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, {name: getattr(record, name) for name in _ARRAYS}, metadata)


def read_exact(path: Path = EXACT / "record.safetensors") -> ExactRecord:
    """Read a record of exact effects.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged, or holds a number that is NaN or infinite.
    """
    arrays, metadata = read_artifact(
        path,
        what="record of exact effects",
        command="creditline lab exact effects",
        remedy="fetch it again",
        field="exact",
    )
    return ExactRecord(
        plan=ExactPlan.from_json(json.loads(metadata["plan"])),
        generator=metadata["generator"],
        corpus=metadata["corpus"],
        queries=tuple(LabQuery(**query) for query in json.loads(metadata["queries"])),
        sets=tuple(
            LeftOut(one["name"], one["reason"], tuple(one["rows"])) for one in json.loads(metadata["sets"])
        ),
        **{name: arrays[name] for name in _ARRAYS},
    )
