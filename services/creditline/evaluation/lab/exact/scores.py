"""Scores of attribution methods on the differentiated model, stored beside the record of exact effects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import AttributionResult, Cost
from creditline.attribution.ensembles.consensus import consensus, sharpened
from creditline.errors import FingerprintMismatch
from creditline.evaluation.lab.exact.record import ExactRecord
from creditline.tensor_files import read_artifact, write_arrays


@dataclass(frozen=True)
class ExactScores:
    """Scores of the works by one method."""

    method: str
    """Name of the method."""
    values: NDArray[np.float64]
    """(Q, N) float64, score of each work for each query."""
    cost: Cost
    """Time, passes and memory of the method."""


def write_exact_scores(
    record: ExactRecord, method: str, attributed: AttributionResult, directory: Path
) -> None:
    """Write a method's scores as METHOD.safetensors in a directory, which is created."""
    directory.mkdir(parents=True, exist_ok=True)
    metadata = {"generator": record.generator, "cost": json.dumps(asdict(attributed.cost))}
    values = attributed.values.astype(np.float32)
    write_arrays(directory / f"{method}.safetensors", {"scores": values}, metadata)


def read_exact_scores(record: ExactRecord, path: Path) -> ExactScores:
    """Read a method's scores; the method's name is that of the file.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged.
        FingerprintMismatch: The scores are of another model than the exact effects.
    """
    command = f"creditline lab exact score {path.stem}"
    arrays, metadata = read_artifact(
        path, what="file of scores", command=command, remedy="make it again", field="exact"
    )
    if metadata.get("generator") != record.generator:
        raise FingerprintMismatch(
            f"{path} holds scores of generator {metadata.get('generator')}, but the exact effects are of"
            f" {record.generator}; make it again with `{command}`",
            field="generator",
        )
    cost = Cost(**json.loads(metadata["cost"]))
    return ExactScores(path.stem, arrays["scores"].astype(np.float64), cost)


def read_all_exact_scores(record: ExactRecord, directory: Path) -> dict[str, ExactScores]:
    """Scores of all methods with a file in a directory, by name of the method; see `read_exact_scores`."""
    paths = sorted(directory.glob("*.safetensors"))
    return {path.stem: read_exact_scores(record, path) for path in paths}


def joined_scores(
    name: str,
    scores: Mapping[str, ExactScores],
    weights: Mapping[str, float],
    powers: Mapping[str, float],
    power: float,
) -> ExactScores:
    """The consensus of scored methods.

    Args:
        name: Name of the consensus.
        scores: Scores by name of the method.
        weights: Weight of each member, by its name.
        powers: Exponents of members' scores, where they are not 1.
        power: Exponent of the sum.
    """
    members = [scores[member] for member in weights]
    values = [sharpened(one.values, powers.get(one.method, 1.0)) for one in members]
    costs = [asdict(member.cost) for member in members]
    total = Cost(**{key: sum(cost[key] for cost in costs) for key in costs[0]})
    return ExactScores(name, sharpened(consensus(values, list(weights.values())), power), total)
