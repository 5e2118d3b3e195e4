"""Methods' scores of the lab's works, kept with their cost, and judged against retraining."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributed, Cost
from creditline.errors import InvalidInput
from creditline.evaluation.bootstrap import Estimate
from creditline.evaluation.lab.record import LabRecord, LossUnit
from creditline.evaluation.lab.tensor_file import read_arrays, write_arrays
from creditline.evaluation.lds import Retrained, lds, lds_difference, noise_ceiling

# Whatever a method has to choose (λ, damping, weights) is chosen on the first subsets, and it is judged on
# the others.
CHOOSING = 16
# Whose first works are really left out.
LEADING = ("abu-plus", "consensus", "d-trak")
SEED = 17


@dataclass(frozen=True)
class MethodScores:
    """rows: which of the lab's queries were scored; values: (rows, N) float32."""

    method: str
    rows: tuple[int, ...]
    values: NDArray[np.float32]
    cost: Cost

    @classmethod
    def of(cls, method: str, rows: Sequence[int], attributed: Attributed) -> MethodScores:
        return cls(method, tuple(rows), attributed.values.astype(np.float32), attributed.cost)

    def kinds(self, record: LabRecord) -> list[str]:
        """The kinds of queries that were scored, in the record's order."""
        return list(dict.fromkeys(record.queries[row].kind for row in sorted(self.rows)))

    def of_rows(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """The scores of the named queries: (queries, N). Raises InvalidInput when one was not scored."""
        place = {row: number for number, row in enumerate(self.rows)}
        missing = [row for row in rows if row not in place]
        if missing:
            raise InvalidInput(f"{self.method} did not score queries {missing}; score them first")
        return self.values[[place[row] for row in rows]].astype(np.float64)


def write_scores(scores: MethodScores, directory: Path) -> Path:
    """One safetensors file a method."""
    path = directory / f"{scores.method}.safetensors"
    metadata = {"cost": json.dumps(asdict(scores.cost)), "rows": json.dumps(scores.rows)}
    write_arrays(path, {"scores": scores.values}, metadata)
    return path


def read_scores(path: Path) -> MethodScores:
    """Raises NotReady when there is none, InvalidInput when it is cut off."""
    arrays, metadata = read_arrays(
        path, what="file of scores", command=f"creditline lab score {path.stem}", again="make it again"
    )
    rows = tuple(json.loads(metadata["rows"]))
    return MethodScores(path.stem, rows, arrays["scores"], Cost(**json.loads(metadata["cost"])))


def read_all_scores(directory: Path) -> dict[str, MethodScores]:
    """Every method that has a file, by name."""
    return {path.stem: read_scores(path) for path in sorted(directory.glob("*.safetensors"))}


@dataclass(frozen=True)
class Judge:
    """The queries of one kind under the judging subsets' models, in one unit of loss."""

    record: LabRecord
    kind: str
    unit: LossUnit = "relative"

    def ceiling(self) -> Estimate:
        """What one seed's losses tell of the other's, over all subsets."""
        return noise_ceiling(self.record.retrained(self.kind, self.unit), seed=SEED)

    def lds(self, scores: MethodScores, *beside: MethodScores) -> Estimate:
        """Over the queries of this kind that were scored, by those `beside` it as well.

        Raises InvalidInput when none was.
        """
        queries = self._scored([scores, *beside])
        return lds(scores.of_rows(queries), self._retrained(queries), seed=SEED)

    def difference(self, ours: MethodScores, theirs: MethodScores) -> Estimate:
        """Of two methods' scores, over the queries that both scored."""
        queries = self._scored([ours, theirs])
        first, second = ours.of_rows(queries), theirs.of_rows(queries)
        return lds_difference(first, second, self._retrained(queries), seed=SEED)

    def queries(self, scores: MethodScores) -> int:
        """How many queries of this kind the method scored."""
        return len(self._scored([scores]))

    def _scored(self, methods: Iterable[MethodScores]) -> list[int]:
        rows = {int(row) for row in self.record.query_rows(self.kind)}
        for scores in methods:
            rows &= set(scores.rows)
        if not rows:
            raise InvalidInput(f"no {self.kind} query was scored by all methods that are compared")
        return sorted(rows)

    def _retrained(self, queries: Sequence[int]) -> Retrained:
        whole = self.record.retrained(self.kind, self.unit)
        columns = np.searchsorted(self.record.query_rows(self.kind), queries)
        return Retrained(whole.subsets[CHOOSING:], whole.losses[CHOOSING:][:, :, columns])
