"""Contributors in the lab: predicted against measured effect of leaving out all works of one contributor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from creditline.errors import InvalidInput
from creditline.evaluation.bootstrap import RESAMPLES, Estimate, interval_of
from creditline.evaluation.lab.record import LabRecord, RecordFingerprints
from creditline.tensor_files import read_artifact, write_arrays

SEED = 29


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
    record.refuse_other_record(metadata, f"{path} holds scores for", f"make it again with `{command}`")
    rows = tuple(json.loads(metadata["rows"]))
    return GroupScores(tuple(metadata["contributors"].split("\n")), arrays, rows, record.fingerprints)


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
        by_query, by_contributor = self._correlations(predicted)
        return GroupAgreement(
            interval_of(by_query[0], by_query[1:]), interval_of(by_contributor[0], by_contributor[1:])
        )

    def gain(self, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> GroupAgreement:
        """Differences of the rank correlations of two predictions, (Q, G) each, on the same resamples.

        Raises:
            InvalidInput: The shapes differ.
        """
        by_query, by_contributor = self._correlations(ours) - self._correlations(theirs)
        return GroupAgreement(
            interval_of(by_query[0], by_query[1:]), interval_of(by_contributor[0], by_contributor[1:])
        )

    def _correlations(self, predicted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean correlations by query and by contributor: (2, 1 + resamples), the sample itself first."""
        if predicted.shape != self.measured.shape:
            raise InvalidInput(
                "predicted and measured values must have one shape; got"
                f" {predicted.shape} and {self.measured.shape}"
            )
        found = np.empty((2, len(self._resamples)))
        for number, resample in enumerate(self._resamples):
            drawn = predicted[np.ix_(resample.rows, resample.columns)]
            found[0, number] = (_unit_ranks(drawn) * resample.by_query).sum(axis=1).mean()
            found[1, number] = (_unit_ranks(drawn.T) * resample.by_contributor).sum(axis=1).mean()
        return found

    @cached_property
    def _resamples(self) -> list[_Resample]:
        """The sample itself, then the resamples, with the ranks of the measured effects."""
        random = np.random.default_rng(SEED)
        queries, contributors = len(self.measured), len(self.measured.T)
        drawn = [(np.arange(queries), np.arange(contributors))]
        for _ in range(self.resamples):
            drawn.append(
                (random.integers(queries, size=queries), random.integers(contributors, size=contributors))
            )
        return [
            _Resample(rows, columns, _unit_ranks(chosen), _unit_ranks(chosen.T))
            for rows, columns in drawn
            for chosen in (self.measured[np.ix_(rows, columns)],)
        ]


@dataclass(frozen=True)
class _Resample:
    """Queries and contributors of a resample, and the centred ranks of the measured effects, of length 1."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    by_query: NDArray[np.float64]
    by_contributor: NDArray[np.float64]


def _unit_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ranks of each row, centred and scaled to length 1; zeros where a row is constant: (R, C)."""
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    unit: NDArray[np.float64] = np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0.0)
    return unit


def spearman_by_row(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation of each row of two arrays, 0 where a row is constant: (R, C) twice -> (R,) float64."""
    found: NDArray[np.float64] = (_unit_ranks(first) * _unit_ranks(second)).sum(axis=1)
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
