"""Utilities of SurrogateSHAP's proxy game in the lab: what each query's picture is under works' captions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.attribution.attributor import Gallery
from creditline.attribution.groups.conditions import Conditions, condition_losses
from creditline.attribution.methods.context import TowerFeatures
from creditline.errors import InvalidInput
from creditline.evaluation.lab.record import LabRecord, RecordFingerprints
from creditline.evaluation.lab.setting import LabSetting
from creditline.tensor_files import read_artifact, write_arrays

# The pictures of all captions are made from one seed, so that only the captions distinguish them.
_PICTURE_SEED = 31
LOSS, RELATIVE_LOSS, IMAGE, PIXELS = "loss", "relative-loss", "image", "pixels"
UTILITIES = (LOSS, RELATIVE_LOSS, IMAGE, PIXELS)


@dataclass(frozen=True)
class ConditionTables:
    """Losses and similarities of the lab's queries under the captions of its works."""

    rows: tuple[int, ...]
    """(Q,) rows of the queries in the lab's record."""
    prompts: tuple[str, ...]
    """(K,) different captions, and the empty prompt last."""
    losses: NDArray[np.float32]
    """(Q, K, timesteps) float32, loss of each query under each caption."""
    similarities: Mapping[str, NDArray[np.float32]]
    """"image" and "pixels": (Q, K) float32, of each query's picture with the one made under each caption."""
    made_from: RecordFingerprints
    """Generator and record that the tables belong to."""

    def utilities(self, kind: str) -> NDArray[np.float64]:
        """Utility of each caption for each query, of a kind in `UTILITIES`: (Q, K) float64.

        Raises:
            InvalidInput: There is no such kind.
        """
        if kind in self.similarities:
            return self.similarities[kind].astype(np.float64)
        losses = self.losses.astype(np.float64)
        if kind == LOSS:
            return -losses.mean(axis=2)
        if kind == RELATIVE_LOSS:
            return -(losses / losses.mean(axis=(0, 1))).mean(axis=2)
        raise InvalidInput(f"{kind!r} is no utility; choose from {', '.join(UTILITIES)}", field="kind")


def make_tables(
    setting: LabSetting,
    record: LabRecord,
    rows: Sequence[int],
    features: TowerFeatures,
    scratch: Path,
    report: Callable[[str], None],
) -> ConditionTables:
    """Compute the tables of some queries (minutes; resumable).

    Args:
        setting: The open lab.
        record: The lab's record.
        rows: Rows of the queries in the record.
        features: Features by tower.
        scratch: Directory of finished queries.
        report: Receives progress lines.
    """
    generator, queries = setting.generator, setting.queries.rows(rows)
    conditions = Conditions.of(setting.works.prompts)
    prompts = list(conditions.prompts)
    losses = condition_losses(
        generator, queries.examples, generator.prompt_vectors(prompts), scratch, report=report
    )
    pictures = generator.sample(prompts, [_PICTURE_SEED] * len(prompts))
    report(f"{len(pictures)} pictures")
    made = Gallery(
        setting.queries.examples.rows([0] * len(prompts)), tuple(pictures), conditions.prompts, "conditions"
    )
    ours, theirs = (_unit(features("image", gallery)) for gallery in (queries, made))
    similarities = {
        IMAGE: (ours @ theirs.T).astype(np.float32),
        PIXELS: pixel_similarity(queries.pictures, pictures),
    }
    return ConditionTables(tuple(rows), conditions.prompts, losses, similarities, record.fingerprints)


def _unit(features: NDArray[np.float32]) -> NDArray[np.float64]:
    rows = features.astype(np.float64)
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def pixel_similarity(first: Sequence[Image.Image], second: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Negative mean squared difference of pixels scaled to 0 … 1: (first, second) float32."""
    one, other = (
        np.stack([np.asarray(picture, dtype=np.float32).ravel() / 255.0 for picture in pictures])
        for pictures in (first, second)
    )
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2.0 * one @ other.T
    similarity: NDArray[np.float32] = -squares / one.shape[1]
    return similarity


def write_tables(tables: ConditionTables, path: Path) -> None:
    """Write the tables as a safetensors file; its directory is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "rows": json.dumps(tables.rows),
        "prompts": json.dumps(tables.prompts, ensure_ascii=False),
        **asdict(tables.made_from),
    }
    write_arrays(path, {"losses": tables.losses, **tables.similarities}, metadata)


def read_tables(path: Path, record: LabRecord) -> ConditionTables:
    """Read the tables.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged.
        FingerprintMismatch: The tables belong to another generator or record.
    """
    command = "creditline lab conditions"
    arrays, metadata = read_artifact(
        path, what="table of conditions", command=command, remedy="make it again", field="lab"
    )
    losses = arrays.pop("losses")
    record.refuse_other_record(metadata, f"{path} belongs to", f"make it again with `{command}`")
    rows, prompts = tuple(json.loads(metadata["rows"])), tuple(json.loads(metadata["prompts"]))
    return ConditionTables(rows, prompts, losses, arrays, record.fingerprints)
