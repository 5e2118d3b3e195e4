"""Scores of the lab's works by attribution methods, stored with their cost and compared with retraining."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import AttributionResult, Cost
from creditline.errors import InvalidInput
from creditline.evaluation.bootstrap import Estimate
from creditline.evaluation.lab.judging.counted import mean_correlations
from creditline.evaluation.lab.record import LabRecord, LossUnit, RecordFingerprints
from creditline.evaluation.lds import RetrainedModels, lds, lds_difference, noise_ceiling, predictions
from creditline.tensor_files import read_artifact, write_arrays

# Number of subsets, from the first, on which hyperparameters (λ, damping, weights) are chosen; methods are
# compared on the others.
CHOOSING = 16
# Methods whose first works are left out by retraining.
LEADING = ("abu-plus", "consensus", "d-trak")
SEED = 17


@dataclass(frozen=True)
class MethodScores:
    """Scores of the lab's works by one method."""

    method: str
    """Name of the method."""
    rows: tuple[int, ...]
    """Rows of the scored queries in the lab's record."""
    values: NDArray[np.float32]
    """(rows, N) float32, score of each work for each scored query."""
    cost: Cost
    """Time, passes and memory of the method."""
    made_from: RecordFingerprints
    """Generator and record that the scores belong to."""

    @classmethod
    def of(
        cls, method: str, rows: Sequence[int], attributed: AttributionResult, record: LabRecord
    ) -> MethodScores:
        """The scores that a run of a method gave for queries of a lab's record."""
        values = attributed.values.astype(np.float32)
        return cls(method, tuple(rows), values, attributed.cost, record.fingerprints)

    def kinds(self, record: LabRecord) -> list[str]:
        """The kinds of queries that were scored, in the record's order."""
        return list(dict.fromkeys(record.queries[row].kind for row in sorted(self.rows)))

    def of_rows(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """The scores of the given queries: (queries, N) float64.

        Raises:
            InvalidInput: A query was not scored.
        """
        position = {row: number for number, row in enumerate(self.rows)}
        missing = [row for row in rows if row not in position]
        if missing:
            raise InvalidInput(f"{self.method} did not score queries {missing}; score them first")
        return self.values[[position[row] for row in rows]].astype(np.float64)


def write_scores(scores: MethodScores, directory: Path) -> Path:
    """Write a method's scores as METHOD.safetensors in a directory, which is created; returns the path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{scores.method}.safetensors"
    metadata = {
        "cost": json.dumps(asdict(scores.cost)),
        "rows": json.dumps(scores.rows),
        **asdict(scores.made_from),
    }
    write_arrays(path, {"scores": scores.values}, metadata)
    return path


def read_scores(path: Path, record: LabRecord) -> MethodScores:
    """Read a method's scores; the method's name is that of the file.

    Args:
        path: The file.
        record: The record that the scores are to be judged by.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged.
        FingerprintMismatch: The scores belong to another generator or record.
    """
    command = f"creditline lab score {path.stem}"
    arrays, metadata = read_artifact(
        path, what="file of scores", command=command, remedy="make it again", field="lab"
    )
    record.refuse_other_origin(
        metadata, f"{path} holds scores", f"make them again with `{command} --save {path.parent}`"
    )
    rows, cost = tuple(json.loads(metadata["rows"])), Cost(**json.loads(metadata["cost"]))
    return MethodScores(path.stem, rows, arrays["scores"], cost, record.fingerprints)


def read_all_scores(directory: Path, record: LabRecord) -> dict[str, MethodScores]:
    """Scores of all methods with a file in a directory, by name of the method; see `read_scores`."""
    return {path.stem: read_scores(path, record) for path in sorted(directory.glob("*.safetensors"))}


@dataclass(frozen=True)
class Judge:
    """Comparison of methods by the queries of one kind, on the subsets that are not used for choosing.

    Raises:
        NotReady: The record lacks subsets of its plan.
        InvalidInput: The plan has no more subsets than are used for choosing.
    """

    record: LabRecord
    """The lab's record."""
    kind: str
    """Kind of the queries: "generated" or "heldout"."""
    unit: LossUnit = "relative"
    """Unit of the loss at each timestep."""

    def __post_init__(self) -> None:
        self.record.refuse_incomplete()
        if len(self.record.subsets) <= CHOOSING:
            raise InvalidInput(
                f"a record of {len(self.record.subsets)} subsets has none to judge on beside the"
                f" {CHOOSING} for choosing; plan more subsets",
                field="subsets",
            )

    def ceiling(self) -> Estimate:
        """Agreement between the losses of two seeds, over all subsets (`noise_ceiling`)."""
        return noise_ceiling(self.record.retrained(self.kind, self.unit), seed=SEED)

    def attainable(self) -> Estimate:
        """Largest expected LDS of any score, against losses averaged over the seeds.

        Where the losses of one seed correlate with those of another by r, the mean of n seeds correlates with
        the losses' expectation by √(n r / (1 + (n − 1) r)) (Spearman and Brown); no score predicts more.
        """
        agreement, seeds = self.ceiling(), self.record.losses.shape[1]
        return Estimate(
            *(
                float(np.sqrt(seeds * r / (1.0 + (seeds - 1) * r)))
                for r in (agreement.value, agreement.low, agreement.high)
            )
        )

    def lds(self, scores: MethodScores, *beside: MethodScores) -> Estimate:
        """LDS over the queries of this kind that the method scored.

        Args:
            scores: The method's scores.
            beside: Scores of other methods; only queries that these scored, too, are counted.

        Raises:
            InvalidInput: No query was scored by all of the methods.
        """
        queries = self._scored([scores, *beside])
        return lds(scores.of_rows(queries), self._retrained(queries), seed=SEED)

    def lds_of_all(self, scores: Sequence[MethodScores]) -> list[Estimate]:
        """LDS of several methods over the queries of this kind that all of them scored, as `lds` gives it.

        Raises:
            InvalidInput: No query was scored by all of the methods.
        """
        queries = self._scored(scores)
        retrained = self._retrained(queries)
        predicted = np.stack([predictions(one.of_rows(queries), retrained) for one in scores])
        return mean_correlations(predicted, retrained.benefit(), seed=SEED)

    def difference(self, ours: MethodScores, theirs: MethodScores) -> Estimate:
        """LDS of one method minus that of another, over the queries that both scored.

        Raises:
            InvalidInput: No query was scored by both methods.
        """
        queries = self._scored([ours, theirs])
        first, second = ours.of_rows(queries), theirs.of_rows(queries)
        return lds_difference(first, second, self._retrained(queries), seed=SEED)

    def queries(self, scores: MethodScores) -> int:
        """Number of queries of this kind that the method scored.

        Raises:
            InvalidInput: The method scored none.
        """
        return len(self._scored([scores]))

    def _scored(self, methods: Iterable[MethodScores]) -> list[int]:
        rows = {int(row) for row in self.record.query_rows(self.kind)}
        for scores in methods:
            rows &= set(scores.rows)
        if not rows:
            raise InvalidInput(
                f"no {self.kind} query was scored by all methods that are compared; score some first"
            )
        return sorted(rows)

    def _retrained(self, queries: Sequence[int]) -> RetrainedModels:
        whole = self.record.retrained(self.kind, self.unit)
        columns = np.searchsorted(self.record.query_rows(self.kind), queries)
        return RetrainedModels(whole.subsets[CHOOSING:], whole.losses[CHOOSING:][:, :, columns])
