"""A release.

One version of an encoder with its works' vectors, calibration and model card, read without torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.errors import FingerprintMismatch, NotReady
from creditline.files import replace_file, sync_tree

MANIFEST = "release.json"
ENCODER = "encoder.safetensors"
VECTORS = "vectors.npy"
WORK_IDS = "work_ids.json"
CALIBRATION = "calibration.json"
MODEL_CARD = "model-card.md"
INTERVALS = "intervals.json"
OOD_DETECTOR = "familiar.safetensors"
EVALUATION = "evaluation.json"
FILES = (ENCODER, VECTORS, WORK_IDS, CALIBRATION, MODEL_CARD)
# Releases up to openclipart-reference-5 have none of these.
MORE_FILES = (INTERVALS, OOD_DETECTOR, EVALUATION)
DIRECTORY_VARIABLE = "CREDITLINE_RELEASE_DIRECTORY"
# float16 keeps ten bits: a unit row of a few hundred numbers stays this close to length 1.
_UNIT_TOLERANCE = 2e-3


@dataclass(frozen=True)
class Release:
    """What `release.json` says, and the directory that it is in.

    `created` is ISO 8601 in UTC; `files` maps names to SHA-256; `figures` are those of the model card.
    """

    directory: Path
    name: str
    created: str
    generator_fingerprint: str
    corpus_name: str
    corpus_fingerprint: str
    towers_fingerprint: str
    dimension: int
    works: int
    collection: str
    files: Mapping[str, str]
    figures: Mapping[str, float]

    def vectors(self) -> NDArray[np.float32]:
        """The works' vectors: (N, dimension) float32, rows of length 1, in the order of `work_ids`."""
        stored = np.load(self.directory / VECTORS).astype(np.float32)
        if stored.shape != (self.works, self.dimension):
            raise FingerprintMismatch(
                f"release {self.name!r} names {self.works} works of dimension {self.dimension} but {VECTORS}"
                f" has shape {stored.shape}; make the release again",
                field="release",
            )
        lengths: NDArray[np.float32] = np.linalg.norm(stored, axis=1, keepdims=True)
        if not (np.abs(lengths - 1.0) < _UNIT_TOLERANCE).all():
            raise FingerprintMismatch(
                f"{VECTORS} of release {self.name!r} has rows that are not of length 1; make it again",
                field="release",
            )
        return stored / lengths

    def work_ids(self) -> tuple[str, ...]:
        """The works' ids in row order."""
        return tuple(json.loads((self.directory / WORK_IDS).read_text()))

    def calibration(self) -> Calibration:
        """From cosine to expected influence."""
        return Calibration.from_json((self.directory / CALIBRATION).read_text())

    def intervals(self) -> AnswerIntervals | None:
        """Between which values the truth of an answer lies; None where the release does not say."""
        path = self.directory / INTERVALS
        return AnswerIntervals.from_json(path.read_text()) if INTERVALS in self.files else None

    def model_card(self) -> str:
        """The model card, Markdown."""
        return (self.directory / MODEL_CARD).read_text()

    def verify_files(self) -> None:
        """Raises FingerprintMismatch naming the first file that is missing or is not what the release was
        made with.
        """
        for name in dict.fromkeys((*FILES, *self.files)):
            path = self.directory / name
            found = file_sha256(path) if path.is_file() else "nothing"
            if found != self.files.get(name):
                raise FingerprintMismatch(
                    f"{path} is not the file that release {self.name!r} was made with (SHA-256 {found}, not"
                    f" {self.files.get(name)}); copy the release again",
                    field=name,
                )

    @cached_property
    def description(self) -> dict[str, Any]:
        """The content of `release.json`."""
        return {_key(name): getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(name for name in Release.__dataclass_fields__ if name != "directory")
# Keys of release.json that have another name than their field: releases of every version have them.
_KEYS = {"dimension": "width"}


def _key(field: str) -> str:
    return _KEYS.get(field, field)


def open_release(directory: Path) -> Release:
    """Read a release's description.

    Raises NotReady when there is none, FingerprintMismatch when it is incomplete.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise NotReady(
            f"no release at {directory}; make one with `creditline distill run`, or point"
            f" {DIRECTORY_VARIABLE} at one",
            field="release",
        )
    try:
        found = json.loads(path.read_text())
        return Release(directory=directory, **{name: found[_key(name)] for name in _FIELDS})
    except (ValueError, KeyError, TypeError) as error:
        raise FingerprintMismatch(
            f"{path} is not a release's description ({error}); make the release again", field="release"
        ) from error


def reference_release_directory() -> Path:
    """The release that the package carries, unless CREDITLINE_RELEASE_DIRECTORY names another."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    return Path(given) if given else Path(str(files("creditline") / "distillation" / "reference"))


def collection_name(release_name: str) -> str:
    """The Qdrant collection of a release."""
    return f"works-{release_name}"


def write_manifest(directory: Path, description: Mapping[str, Any]) -> Release:
    """Describe the files that are in `directory`, last of all and in one step: then it is a release.

    `description` has the fields of Release but `collection`, `files` and `directory`.
    """
    names = [*FILES, *(name for name in MORE_FILES if (directory / name).is_file())]
    complete = {
        **description,
        "collection": collection_name(description["name"]),
        "files": {name: file_sha256(directory / name) for name in names},
    }
    sync_tree(directory)
    with replace_file(directory / MANIFEST, durable=True) as draft:
        draft.write_text(json.dumps({key: complete[key] for key in map(_key, _FIELDS)}, indent=2) + "\n")
    return open_release(directory)


def write_work_vectors(directory: Path, work_ids: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
    """Write rows of length 1 as float16, and their ids. vectors: (N, dimension)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(directory / VECTORS, (vectors / lengths).astype(np.float16))
    (directory / WORK_IDS).write_text(json.dumps(list(work_ids)) + "\n")


def file_sha256(path: Path) -> str:
    """64 hex digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
