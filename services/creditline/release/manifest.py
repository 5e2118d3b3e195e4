"""Releases on disk: reading of their files, and their manifest, `release.json`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.halves import Halves
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.reranking import Reranking
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
PROMPT_AGREEMENT = "prompt-agreement.safetensors"
IMPUTATION = "imputation.safetensors"
HALVES = "halves.json"
EVALUATION = "evaluation.json"
RERANKING = "rerank.json"
RERANKING_ROWS = "rerank.safetensors"
FILES = (ENCODER, VECTORS, WORK_IDS, CALIBRATION, MODEL_CARD)
CORPUS_FILE = "corpus.parquet"
TEACHER_DIRECTORY = "teacher"
TEACHER_STATISTICS = f"{TEACHER_DIRECTORY}/statistics.safetensors"
# Optional files; releases up to openclipart-reference-5 have none of them.
MORE_FILES = (
    INTERVALS,
    OOD_DETECTOR,
    PROMPT_AGREEMENT,
    IMPUTATION,
    HALVES,
    EVALUATION,
    CORPUS_FILE,
    TEACHER_STATISTICS,
    RERANKING,
    RERANKING_ROWS,
)
DIRECTORY_VARIABLE = "CREDITLINE_RELEASE_DIRECTORY"
# float16 keeps ten bits: a unit vector of a few hundred components stays this close to length 1.
_UNIT_TOLERANCE = 2e-3


@dataclass(frozen=True)
class Part:
    """Something that serving or auditing a release needs: a corpus, generator, statistics or towers."""

    place: str
    """A path relative to the release's directory, or an absolute one; of towers, their specification."""
    fingerprint: str
    """Fingerprint of what the release was made with."""
    adapters: tuple[str, ...] = ()
    """Adapters merged into a generator, as `FILE` or `FILE:strength`, with paths like `place`."""


@dataclass(frozen=True)
class Release:
    """The content of `release.json`, and the directory that holds it."""

    directory: Path
    """Directory of the release."""
    name: str
    """Name of the release."""
    created: str
    """Time of creation, ISO 8601 in UTC."""
    generator_fingerprint: str
    """Fingerprint of the generator whose pictures are attributed."""
    corpus_name: str
    """Name of the corpus."""
    corpus_fingerprint: str
    """Fingerprint of the corpus."""
    towers_fingerprint: str
    """Fingerprint of the towers that the encoder's features come from."""
    dimension: int
    """Dimension of the vectors (key `width` in `release.json`)."""
    works: int
    """Number of works."""
    collection: str
    """Name of the Qdrant collection."""
    files: Mapping[str, str]
    """SHA-256 of each file, by file name: 64 hex digits."""
    figures: Mapping[str, float]
    """Figures of the model card, by name."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """Places of corpus, generator, teacher's statistics and towers, by name (`creditline.release.parts`);
    the packaged release, which uses the package's own, names none."""

    @property
    def encoder_fingerprint(self) -> str:
        """Fingerprint of what vectors depend on, towers and encoder: SHA-256, 64 hex digits."""
        return hashlib.sha256(f"{self.towers_fingerprint}\n{self.files[ENCODER]}".encode()).hexdigest()

    def vectors(self) -> NDArray[np.float32]:
        """Read the works' vectors.

        Returns:
            (N, dimension) float32, L2-normalised rows in the order of `work_ids`.

        Raises:
            FingerprintMismatch: The shape is not that of the manifest, or a row is not of length 1.
        """
        stored = np.load(self.directory / VECTORS).astype(np.float32)
        if stored.shape != (self.works, self.dimension):
            raise FingerprintMismatch(
                f"release {self.name!r} names {self.works} works of dimension {self.dimension}, but {VECTORS}"
                f" has shape {stored.shape}; build the release again",
                field="release",
            )
        lengths: NDArray[np.float32] = np.linalg.norm(stored, axis=1, keepdims=True)
        if not (np.abs(lengths - 1.0) < _UNIT_TOLERANCE).all():
            raise FingerprintMismatch(
                f"{VECTORS} of release {self.name!r} has rows that are not of length 1; build the release"
                " again",
                field="release",
            )
        return stored / lengths

    def work_ids(self) -> tuple[str, ...]:
        """Ids of the works, in the order of the rows of `vectors`."""
        return tuple(json.loads((self.directory / WORK_IDS).read_text()))

    def calibration(self) -> Calibration:
        """The calibration, which maps cosine to expected influence."""
        return Calibration.from_json((self.directory / CALIBRATION).read_text())

    def intervals(self) -> AnswerIntervals | None:
        """Intervals of an answer's influence and sums; None when the release states none."""
        path = self.directory / INTERVALS
        return AnswerIntervals.from_json(path.read_text()) if INTERVALS in self.files else None

    def halves(self) -> Halves | None:
        """Calibrations of answers from pictures alone and from prompts alone; None: the release has none.

        Raises:
            FingerprintMismatch: They were fitted for another encoder.
        """
        if HALVES not in self.files:
            return None
        found, encoder = Halves.from_json((self.directory / HALVES).read_text()), self.files[ENCODER]
        if found.encoder and found.encoder != encoder:
            raise FingerprintMismatch(
                f"{self.directory / HALVES} was fitted for encoder {found.encoder[:16]}…, but release"
                f" {self.name!r} has {encoder[:16]}…; copy the release again, or build it again",
                field=HALVES,
            )
        return found

    def reranking(self) -> Reranking | None:
        """Calibration of re-ranked answers; None: the release has no gradient rows.

        Raises:
            FingerprintMismatch: It was fitted for another encoder, or for other rows.
        """
        if RERANKING not in self.files or RERANKING_ROWS not in self.files:
            return None
        found = Reranking.from_json((self.directory / RERANKING).read_text())
        for name, fitted in ((ENCODER, found.encoder), (RERANKING_ROWS, found.rows)):
            if fitted != self.files[name]:
                raise FingerprintMismatch(
                    f"{self.directory / RERANKING} was fitted for {name} {fitted[:16]}…, but release"
                    f" {self.name!r} has {self.files[name][:16]}…; copy the release again, or run `creditline"
                    " release rerank` again",
                    field=RERANKING,
                )
        return found

    def require_reranking(self) -> Reranking:
        """Calibration of re-ranked answers.

        Raises:
            NotReady: The release has no gradient rows.
            FingerprintMismatch: As `reranking`.
        """
        found = self.reranking()
        if found is None:
            raise NotReady(
                f"release {self.name!r} has no gradient rows, so that works cannot be re-ranked; make them"
                f" with `creditline release rerank {self.directory}`, or unset CREDITLINE_EMBEDDER_RERANKS",
                field=RERANKING_ROWS,
            )
        return found

    def model_card(self) -> str:
        """The model card, in Markdown."""
        return (self.directory / MODEL_CARD).read_text()

    def verify_files(self) -> None:
        """Check every file against its SHA-256 in the manifest.

        Raises:
            FingerprintMismatch: A file is missing or has changed; the first such file is named.
        """
        for name in dict.fromkeys((*FILES, *self.files)):
            path = self.directory / name
            digest = file_sha256(path) if path.is_file() else "nothing"
            if digest != self.files.get(name):
                raise FingerprintMismatch(
                    f"{path} is not the file that release {self.name!r} was made with (SHA-256 {digest}, not"
                    f" {self.files.get(name)}); copy the release again",
                    field=name,
                )

    @cached_property
    def description(self) -> dict[str, Any]:
        """The content of `release.json`."""
        stated = {_key(name): getattr(self, name) for name in _FIELDS}
        return {**stated, "parts": {name: stated_part(part) for name, part in self.parts.items()}}


_FIELDS = tuple(name for name in Release.__dataclass_fields__ if name not in ("directory", "parts"))
# The reference generator's fingerprint of before, which covered the bytes of its files, and today's.
_TODAYS_GENERATORS = {
    "67f291a3d8130f857c39fb1ef7a73e912e0751409acffa5f9f1ec6f6d55a070a": (
        "97577252d043f3bf3e8b5dabb9db15ff9b58f65813dcd0398d2459e35ee3f5ff"
    )
}
# Keys of release.json whose name differs from their field, in releases of every version.
_KEYS = {"dimension": "width"}


def _key(field: str) -> str:
    return _KEYS.get(field, field)


def open_release(directory: Path) -> Release:
    """Read the manifest of a release.

    Raises:
        NotReady: The directory holds no release.
        FingerprintMismatch: The manifest is incomplete or is not valid JSON.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise NotReady(
            f"there is no release at {directory}; build one with `creditline distill run`, or set"
            f" {DIRECTORY_VARIABLE} to the directory of one",
            field="release",
        )
    try:
        found = json.loads(path.read_text())
        generator = found["generator_fingerprint"]
        found["generator_fingerprint"] = _TODAYS_GENERATORS.get(generator, generator)
        parts = {name: _part(stated) for name, stated in found.get("parts", {}).items()}
        return Release(directory=directory, parts=parts, **{name: found[_key(name)] for name in _FIELDS})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FingerprintMismatch(
            f"{path} is not the manifest of a release ({error}); build the release again", field="release"
        ) from error


def stated_part(part: Part) -> dict[str, Any]:
    """A part as `release.json` states it."""
    adapters = {"adapters": list(part.adapters)} if part.adapters else {}
    return {"place": part.place, "fingerprint": part.fingerprint, **adapters}


def _part(stated: Mapping[str, Any]) -> Part:
    return Part(stated["place"], stated["fingerprint"], tuple(stated.get("adapters", ())))


def packaged_release_directory() -> Path:
    """Directory of the release in the package."""
    return Path(str(files("creditline") / "distillation" / "reference"))


def reference_release_directory() -> Path:
    """Directory of the release in use: CREDITLINE_RELEASE_DIRECTORY, by default the packaged release."""
    configured = os.environ.get(DIRECTORY_VARIABLE)
    return Path(configured) if configured else packaged_release_directory()


def collection_name(release_name: str) -> str:
    """Name of a release's Qdrant collection."""
    return f"works-{release_name}"


def write_manifest(directory: Path, description: Mapping[str, Any]) -> Release:
    """Write the manifest of the files in a directory; the directory is a release only once this succeeds.

    The manifest is written last and atomically.

    Args:
        directory: Directory that holds all files of the release.
        description: Values of the keys of `release.json`, other than `collection` and `files`; `parts` may
            be left out.

    Returns:
        The release, read back from the directory.
    """
    names = [*FILES, *(name for name in MORE_FILES if (directory / name).is_file())]
    complete = {
        **description,
        "collection": collection_name(description["name"]),
        "files": {name: file_sha256(directory / name) for name in names},
    }
    stated = {key: complete[key] for key in map(_key, _FIELDS)}
    if complete.get("parts"):
        stated["parts"] = complete["parts"]
    sync_tree(directory)
    with replace_file(directory / MANIFEST, durable=True) as draft:
        draft.write_text(json.dumps(stated, indent=2) + "\n")
    return open_release(directory)


def write_work_vectors(directory: Path, work_ids: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
    """Write the works' vectors, L2-normalised, as float16, and the works' ids.

    Args:
        directory: Directory of the release.
        work_ids: Ids of the N works.
        vectors: (N, dimension), of any length.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(directory / VECTORS, (vectors / lengths).astype(np.float16))
    (directory / WORK_IDS).write_text(json.dumps(list(work_ids)) + "\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file: 64 hex digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
