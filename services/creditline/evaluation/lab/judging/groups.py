"""Contributors in the lab: what methods foretell of leaving all works of one out, and what it really did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput
from creditline.evaluation.agreement import spearman
from creditline.evaluation.bootstrap import Estimate, bootstrap_mean
from creditline.evaluation.lab.tensor_file import read_arrays, write_arrays

SEED = 29


@dataclass(frozen=True)
class GroupScores:
    """values: by score's name, (Q, G) float32 of all the lab's queries; contributors name the columns."""

    contributors: tuple[str, ...]
    values: Mapping[str, NDArray[np.float32]]


def write_group_scores(scores: GroupScores, path: Path) -> None:
    """One safetensors file."""
    write_arrays(path, dict(scores.values), {"contributors": "\n".join(scores.contributors)})


def read_group_scores(path: Path) -> GroupScores:
    """Raises NotReady when there is none, InvalidInput when it is cut off."""
    arrays, words = read_arrays(
        path,
        what="file of contributors' scores",
        command="creditline lab contributors",
        again="make it again",
    )
    return GroupScores(tuple(words["contributors"].split("\n")), arrays)


@dataclass(frozen=True)
class GroupAgreement:
    """Rank correlation of foretold with measured ΔL.

    by_query: over the contributors, mean over queries (whom does this picture owe?); by_contributor: over the
    queries, mean over contributors (which pictures owe this one?), where how many works one has says nothing.
    """

    by_query: Estimate
    by_contributor: Estimate


def group_agreement(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> GroupAgreement:
    """foretold, measured: (Q, G). Raises InvalidInput when they are not alike."""
    if predicted.shape != measured.shape:
        raise InvalidInput(f"foretold {predicted.shape} and measured {measured.shape} are not of one shape")
    return GroupAgreement(_mean_spearman(predicted, measured), _mean_spearman(predicted.T, measured.T))


def _mean_spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> Estimate:
    """Over rows."""
    return bootstrap_mean([spearman(one, other) for one, other in zip(first, second, strict=True)], seed=SEED)


def rows_by_contributor(contributors: Sequence[str], wanted: Sequence[str]) -> list[list[int]]:
    """contributors: of each work. Raises InvalidInput for one who has none."""
    rows = {name: [row for row, one in enumerate(contributors) if one == name] for name in wanted}
    for name, found in rows.items():
        if not found:
            raise InvalidInput(f"contributor {name!r} has no work here", field="contributor")
    return [rows[name] for name in wanted]
