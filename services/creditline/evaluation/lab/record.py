"""The lab's record: the training works of each model and its loss on each query (a few megabytes)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.evaluation.lab.plan import LabPlan, LabQuery, draw_subsets, subset_jobs
from creditline.evaluation.lab.retraining.workshop import Workshop
from creditline.evaluation.lds import RetrainedModels
from creditline.generator.fingerprint import generator_fingerprint
from creditline.tensor_files import read_artifact, write_arrays

# "noise": the error of the predicted noise, as in the papers; a few timesteps at which the picture is almost
# clean make up most of the sum and vary least with the training works. "relative": the error at each timestep
# in units of its mean over models and queries, so that all timesteps have equal weight.
LossUnit = Literal["noise", "relative"]
_ARRAYS = ("subsets", "losses", "pictures", "latents")


@dataclass(frozen=True)
class RecordFingerprints:
    """What scores of the lab's queries were made from and are judged by."""

    generator: str
    """Fingerprint of the model of all works."""
    record: str
    """Fingerprint of the whole record: plan, works, queries, subsets and losses."""


@dataclass(frozen=True)
class LabRecord:
    """The losses of the retrained models on the lab's queries."""

    plan: LabPlan
    """Sizes and seeds of the lab."""
    generator: str
    """Fingerprint of the model of all works."""
    corpus: str
    """Fingerprint of the lab's works."""
    work_ids: tuple[str, ...]
    """(N,) ids of the works, in the column order of `subsets`."""
    queries: tuple[LabQuery, ...]
    """(Q,) queries, generated ones first, in the order of `losses` and `latents`."""
    subsets: NDArray[np.bool_]
    """(M, N) bool, true where a subset holds a work."""
    losses: NDArray[np.float32]
    """(M, seeds, Q, timesteps) float32, mean squared error of the predicted noise."""
    pictures: NDArray[np.uint8]
    """(G, H, W, 3) uint8, pictures of the generated queries."""
    latents: NDArray[np.float32]
    """(Q, C, H, W) float32, latents of all queries."""

    @cached_property
    def fingerprints(self) -> RecordFingerprints:
        """Fingerprints of the generator and of the record's whole content."""
        digest = hashlib.sha256(json.dumps(_metadata(self), sort_keys=True).encode())
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        return RecordFingerprints(self.generator, digest.hexdigest()[:32])

    def refuse_other_origin(self, metadata: Mapping[str, str], holds: str, remedy: str) -> None:
        """Refuse a file that was made from another generator or record, naming which, and both fingerprints.

        Args:
            metadata: Metadata of the file, with the fields of `RecordFingerprints`.
            holds: What the file holds, such as "FILE holds scores".
            remedy: What to do.

        Raises:
            FingerprintMismatch: A fingerprint is another one, or is missing.
        """
        for name, expected in asdict(self.fingerprints).items():
            found = metadata.get(name, "unknown")
            if found != expected:
                raise FingerprintMismatch(f"{holds} of {name} {found}, not {expected}; {remedy}", field=name)

    def refuse_other_record(self, metadata: Mapping[str, str], belongs: str, remedy: str) -> None:
        """Refuse a file that was made from another generator or record, without naming which.

        Args:
            metadata: Metadata of the file, with the fields of `RecordFingerprints`.
            belongs: Start of the sentence, such as "FILE belongs to".
            remedy: What to do.

        Raises:
            FingerprintMismatch: A fingerprint is another one, or is missing.
        """
        found = RecordFingerprints(**{name: metadata.get(name, "") for name in asdict(self.fingerprints)})
        if found != self.fingerprints:
            raise FingerprintMismatch(f"{belongs} another generator or record; {remedy}", field="lab")

    def refuse_incomplete(self) -> None:
        """Refuse a record that lacks subsets of its plan, on which methods cannot be judged.

        Raises:
            NotReady: Subsets are missing.
        """
        if len(self.subsets) < self.plan.subsets:
            raise NotReady(
                f"the record holds {len(self.subsets)} of the {self.plan.subsets} subsets of its plan; train"
                " the others with `creditline lab train`, then run `creditline lab collect`",
                field="lab",
            )

    def query_rows(self, kind: str) -> NDArray[np.intp]:
        """Rows of the queries of one kind ("generated" or "heldout")."""
        return np.flatnonzero([query.kind == kind for query in self.queries])

    def spread_rows(self, count: int, kinds: Sequence[str] = ("generated", "heldout")) -> list[int]:
        """Rows of evenly spaced queries.

        Args:
            count: Number of queries of each kind; 0: all.
            kinds: Kinds of queries.
        """
        chosen: list[int] = []
        for kind in kinds:
            rows = self.query_rows(kind)
            stride = max(1, len(rows) // count) if count else 1
            chosen += [int(row) for row in rows[::stride][: count or len(rows)]]
        return chosen

    def retrained(self, kind: str, unit: LossUnit = "relative") -> RetrainedModels:
        """The subsets with the losses of the queries of one kind, averaged over timesteps.

        Args:
            kind: Kind of queries.
            unit: Unit of the loss at each timestep.
        """
        weights = self.timestep_weights(unit)
        losses = (self.losses[:, :, self.query_rows(kind)].astype(np.float64) * weights).mean(axis=3)
        return RetrainedModels(self.subsets.astype(np.float64), losses)

    def timestep_weights(self, unit: LossUnit) -> NDArray[np.float64]:
        """Weight of the loss at each timestep in a unit: (timesteps,) float64."""
        if unit == "noise":
            return np.ones(self.losses.shape[3])
        mean: NDArray[np.float64] = self.losses.astype(np.float64).mean(axis=(0, 1, 2))
        return 1.0 / mean


def collect(workshop: Workshop) -> LabRecord:
    """Collect the record of all subsets whose models are finished for every seed.

    Raises:
        NotReady: Fewer than 2 subsets are finished.
    """
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
            f"{workshop.directory} holds {len(done)} complete subsets, but a record needs 2; continue with"
            " `creditline lab train`",
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
    """Write a record as a safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, {name: getattr(record, name) for name in _ARRAYS}, _metadata(record))


def _metadata(record: LabRecord) -> dict[str, str]:
    """Everything in a record beside its arrays, as strings by name."""
    return {
        "plan": json.dumps(record.plan.to_json()),
        "generator": record.generator,
        "corpus": record.corpus,
        "work_ids": json.dumps(record.work_ids),
        "queries": json.dumps([vars(query) for query in record.queries], ensure_ascii=False),
    }


def read_record(path: Path) -> LabRecord:
    """Read a lab record.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged, or a loss is NaN or infinite.
    """
    arrays, metadata = read_artifact(
        path, what="lab record", command="creditline lab train", remedy="fetch it again", field="lab"
    )
    if not np.isfinite(arrays["losses"]).all():
        raise InvalidInput(
            f"{path} holds a loss that is NaN or infinite; train that model again", field="lab"
        )
    return LabRecord(
        plan=LabPlan.from_json(json.loads(metadata["plan"])),
        generator=metadata["generator"],
        corpus=metadata["corpus"],
        work_ids=tuple(json.loads(metadata["work_ids"])),
        queries=tuple(LabQuery(**query) for query in json.loads(metadata["queries"])),
        **{name: arrays[name] for name in _ARRAYS},
    )
