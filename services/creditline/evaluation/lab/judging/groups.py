"""Contributors in the lab: predicted against measured effect of leaving out all works of one contributor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput
from creditline.evaluation.agreement import spearman
from creditline.evaluation.bootstrap import Estimate, bootstrap_mean
from creditline.tensor_files import read_artifact, write_arrays

SEED = 29


@dataclass(frozen=True)
class GroupScores:
    """Scores of contributors for all queries of the lab."""

    contributors: tuple[str, ...]
    """(G,) contributors, in the column order of `values`."""
    values: Mapping[str, NDArray[np.float32]]
    """(Q, G) float32 by name of the score."""


def write_group_scores(scores: GroupScores, path: Path) -> None:
    """Write contributors' scores as a safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, dict(scores.values), {"contributors": "\n".join(scores.contributors)})


def read_group_scores(path: Path) -> GroupScores:
    """Read contributors' scores.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged.
    """
    arrays, metadata = read_artifact(
        path,
        what="file of contributors' scores",
        command="creditline lab contributors",
        remedy="make it again",
        field="lab",
    )
    return GroupScores(tuple(metadata["contributors"].split("\n")), arrays)


@dataclass(frozen=True)
class GroupAgreement:
    """Rank correlation of predicted and measured ΔL."""

    by_query: Estimate
    """Correlation over the contributors, averaged over the queries: which contributors does a picture owe?"""
    by_contributor: Estimate
    """Correlation over the queries, averaged over the contributors: which pictures owe a contributor? The
    number of a contributor's works has no effect on it."""


def group_agreement(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> GroupAgreement:
    """Compare predicted with measured effects.

    Args:
        predicted: (Q, G) float64, predicted ΔL of each query without each contributor.
        measured: (Q, G) float64, measured ΔL.

    Raises:
        InvalidInput: The shapes differ.
    """
    if predicted.shape != measured.shape:
        raise InvalidInput(
            f"predicted and measured values must have one shape; got {predicted.shape} and {measured.shape}"
        )
    return GroupAgreement(_mean_spearman(predicted, measured), _mean_spearman(predicted.T, measured.T))


def _mean_spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> Estimate:
    """Rank correlation row by row, averaged over the rows."""
    return bootstrap_mean([spearman(one, other) for one, other in zip(first, second, strict=True)], seed=SEED)


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
