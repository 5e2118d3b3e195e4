"""Contributors in the lab: predicted against measured effect of leaving out all works of one contributor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.evaluation.bootstrap import RESAMPLES, Estimate, interval_of
from creditline.evaluation.lab.record import LabRecord, RecordFingerprints
from creditline.tensor_files import read_artifact, write_arrays

SEED = 29

# (rows, columns) of a resample -> the statistic.
_Statistic = Callable[[NDArray[np.intp], NDArray[np.intp]], float]


@dataclass(frozen=True)
class GroupScores:
    """Scores of contributors for queries of the lab."""

    contributors: tuple[str, ...]
    """(G,) contributors, in the column order of `values`."""
    values: Mapping[str, NDArray[np.float32]]
    """(Q, G) float32 by name of the score."""
    rows: tuple[int, ...]
    """(Q,) rows of the queries in the lab's record."""
    made_from: RecordFingerprints
    """Generator and record that the scores belong to."""

    def of(self, name: str, rows: Sequence[int], contributors: Sequence[str]) -> NDArray[np.float64]:
        """One score of the given queries and contributors: (rows, contributors) float64.

        Raises:
            InvalidInput: A query or a contributor has no score.
        """
        places = {row: place for place, row in enumerate(self.rows)}
        columns = {contributor: column for column, contributor in enumerate(self.contributors)}
        missing = [str(row) for row in rows if row not in places]
        missing += [contributor for contributor in contributors if contributor not in columns]
        if missing:
            raise InvalidInput(f"{name} has no score of {missing[0]!r}; make the scores again", field="lab")
        chosen = self.values[name][[places[row] for row in rows]]
        found: NDArray[np.float64] = chosen[:, [columns[one] for one in contributors]].astype(np.float64)
        return found


def write_group_scores(scores: GroupScores, path: Path) -> None:
    """Write contributors' scores as a safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "contributors": "\n".join(scores.contributors),
        "rows": json.dumps(scores.rows),
        **asdict(scores.made_from),
    }
    write_arrays(path, dict(scores.values), metadata)


def read_group_scores(path: Path, record: LabRecord, command: str) -> GroupScores:
    """Read contributors' scores.

    Args:
        path: The file.
        record: The lab's record.
        command: The command that makes the file.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged.
        FingerprintMismatch: The scores belong to another generator or record.
    """
    arrays, metadata = read_artifact(
        path, what="file of contributors' scores", command=command, remedy="make it again", field="lab"
    )
    found = RecordFingerprints(**{name: metadata.get(name, "") for name in asdict(record.fingerprints)})
    if found != record.fingerprints:
        raise FingerprintMismatch(
            f"{path} holds scores for another generator or record; make it again with `{command}`",
            field="lab",
        )
    rows = tuple(json.loads(metadata["rows"]))
    return GroupScores(tuple(metadata["contributors"].split("\n")), arrays, rows, found)


def joined_contributors(first: GroupScores, second: GroupScores) -> GroupScores:
    """The scores of the contributors of two files, for the same queries.

    Raises:
        InvalidInput: The files have different queries or scores, or share a contributor.
    """
    if first.rows != second.rows or set(first.values) != set(second.values):
        raise InvalidInput("two files of contributors' scores must have the same queries and scores")
    shared = set(first.contributors) & set(second.contributors)
    if shared:
        raise InvalidInput(f"contributor {min(shared)!r} is in both files; leave it out of one")
    values = {
        name: np.concatenate([first.values[name], second.values[name]], axis=1) for name in first.values
    }
    return GroupScores(first.contributors + second.contributors, values, first.rows, first.made_from)


@dataclass(frozen=True)
class GroupAgreement:
    """Rank correlation of predicted and measured ΔL."""

    by_query: Estimate
    """Correlation over the contributors, averaged over the queries: which contributors does a picture owe?"""
    by_contributor: Estimate
    """Correlation over the queries, averaged over the contributors: which pictures owe a contributor? The
    number of a contributor's works has no effect on it."""


@dataclass(frozen=True)
class GroupJudge:
    """Compares predicted with measured effects; queries and contributors are resampled together.

    Raises:
        InvalidInput: There is no effect, or one is NaN or infinite.
    """

    measured: NDArray[np.float64]
    """(Q, G) float64, measured ΔL of each query without each contributor."""
    resamples: int = RESAMPLES
    """Number of bootstrap resamples."""

    def __post_init__(self) -> None:
        if not self.measured.size or not np.isfinite(self.measured).all():
            raise InvalidInput("measured effects must be finite numbers, at least one; collect them again")

    def agreement(self, predicted: NDArray[np.float64]) -> GroupAgreement:
        """Rank correlations of one prediction, (Q, G) float64, with the measured effects.

        Raises:
            InvalidInput: The shapes differ.
        """
        return GroupAgreement(
            self._estimate(lambda rows, columns: self._by_query(predicted, rows, columns)),
            self._estimate(lambda rows, columns: self._by_contributor(predicted, rows, columns)),
        )

    def gain(self, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> GroupAgreement:
        """Differences of the rank correlations of two predictions, (Q, G) each, on the same resamples.

        Raises:
            InvalidInput: The shapes differ.
        """
        return GroupAgreement(
            self._estimate(
                lambda rows, columns: (
                    self._by_query(ours, rows, columns) - self._by_query(theirs, rows, columns)
                )
            ),
            self._estimate(
                lambda rows, columns: (
                    self._by_contributor(ours, rows, columns) - self._by_contributor(theirs, rows, columns)
                )
            ),
        )

    def _estimate(self, statistic: _Statistic) -> Estimate:
        random = np.random.default_rng(SEED)
        queries, contributors = len(self.measured), len(self.measured.T)
        resampled = [
            statistic(
                random.integers(queries, size=queries), random.integers(contributors, size=contributors)
            )
            for _ in range(self.resamples)
        ]
        return interval_of(statistic(np.arange(queries), np.arange(contributors)), resampled)

    def _by_query(
        self, predicted: NDArray[np.float64], rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> float:
        self._refuse_other_shape(predicted)
        return float(
            spearman_by_row(predicted[np.ix_(rows, columns)], self.measured[np.ix_(rows, columns)]).mean()
        )

    def _by_contributor(
        self, predicted: NDArray[np.float64], rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> float:
        self._refuse_other_shape(predicted)
        first, second = predicted[np.ix_(rows, columns)], self.measured[np.ix_(rows, columns)]
        return float(spearman_by_row(first.T, second.T).mean())

    def _refuse_other_shape(self, predicted: NDArray[np.float64]) -> None:
        if predicted.shape != self.measured.shape:
            raise InvalidInput(
                "predicted and measured values must have one shape; got"
                f" {predicted.shape} and {self.measured.shape}"
            )


def spearman_by_row(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation of each row of two arrays, 0 where a row is constant: (R, C) twice -> (R,) float64."""
    ranks = [rankdata(values, axis=1) for values in (first, second)]
    one, other = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    scale = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    products = (one * other).sum(axis=1)
    found: NDArray[np.float64] = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0.0)
    return found


def rows_by_contributor(contributors: Sequence[str], wanted: Sequence[str]) -> list[list[int]]:
    """The rows of each wanted contributor's works.

    Args:
        contributors: Contributor of each work.
        wanted: Names of contributors.

    Returns:
        Row indices of the works, one list per wanted contributor.

    Raises:
        InvalidInput: A wanted contributor has no work.
    """
    rows = {name: [row for row, one in enumerate(contributors) if one == name] for name in wanted}
    for name, works in rows.items():
        if not works:
            raise InvalidInput(
                f"contributor {name!r} has no work among the lab's works; name one who has",
                field="contributor",
            )
    return [rows[name] for name in wanted]
