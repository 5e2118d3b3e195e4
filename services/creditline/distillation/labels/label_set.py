"""Labels: generated queries with the teacher's influence of every work on each of them, as one directory.

label-set.json          names, counts, fingerprints, SHA-256 of the other files
queries.parquet         picture (PNG), prompt, seed, guidance, split; row q is query q
influence.npy           (Q, N) float32: the teacher's influence of work n on query q
influence_repeat.npy    (H, N) float32, optional: the same with other noise for the queries that judge
inclusion.npy           (Q, N) float32, optional: the probability that a work was labelled for a query
decoy_influence.npy     (Q, D) float32, optional: influence of pictures that the generator never saw
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.files import replace_file, sync_tree

# Transfer: queries of another kind than those that teach, which judge how far a student carries.
TRAIN, HELD_OUT, TRANSFER = "train", "heldout", "transfer"
_SPLITS = (TRAIN, HELD_OUT, TRANSFER)
FIRST_ORDER = "first-order"
_MANIFEST = "label-set.json"
_QUERIES = "queries.parquet"
_MATRICES = ("influence", "influence_repeat", "decoy_influence", "inclusion")
_DESCRIBED = ("generator_fingerprint", "corpus_name", "corpus_fingerprint", "decoy_fingerprint", "files")
_QUERY_SCHEMA = pa.schema(
    [
        ("picture", pa.binary()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
        ("guidance", pa.float64()),
        ("split", pa.string()),
    ]
)


@dataclass(frozen=True)
class LabelledQuery:
    """A generated picture (PNG bytes) with what it was made from. `split` is "train", "heldout" or
    "transfer"."""

    picture: bytes
    prompt: str
    seed: int
    guidance: float
    split: str

    def image(self) -> Image.Image:
        """The picture, decoded to RGB."""
        return read_png(self.picture)


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Queries and the teacher's influence of every work of a corpus on each.

    influence: (Q, N) float32, row q of `queries[q]`, column n of the corpus's work n. influence_repeat:
    (H, N) float32, the queries that judge in order, labelled again with other noise. decoy_influence: (Q, D)
    float32. inclusion: (Q, N) float32, the probability with which each work was drawn to be labelled; where
    it is 0 it was not, and its influence is no label. None: every work was labelled for every query. teacher:
    the method that labelled; on_common_scale: whether its scores are mapped to expected ΔL (never so on
    disk). Raises InvalidInput when shapes, splits or numbers do not hold together.
    """

    queries: tuple[LabelledQuery, ...]
    influence: NDArray[np.float32]
    generator_fingerprint: str
    corpus_name: str
    corpus_fingerprint: str
    influence_repeat: NDArray[np.float32] | None = None
    decoy_influence: NDArray[np.float32] | None = None
    decoy_fingerprint: str = ""
    inclusion: NDArray[np.float32] | None = None
    teacher: str = FIRST_ORDER
    on_common_scale: bool = False

    def __post_init__(self) -> None:
        splits = {query.split for query in self.queries}
        if not splits <= set(_SPLITS):
            raise InvalidInput(f"a split is one of {', '.join(_SPLITS)}; got {sorted(splits)}", field="split")
        self._check_shapes()
        for name, matrix in self.matrices().items():
            if not np.isfinite(matrix).all():
                raise InvalidInput(
                    f"{name} holds a NaN or an infinity; label those queries again", field=name
                )

    def _check_shapes(self) -> None:
        count, works = len(self.queries), self.influence.shape[-1]
        wanted = {
            "influence": (count, works),
            "influence_repeat": (count - len(self.rows(TRAIN)), works),
            "inclusion": (count, works),
            "decoy_influence": (
                count,
                *(self.decoy_influence.shape[1:2] if self.decoy_influence is not None else ()),
            ),
        }
        for name, matrix in self.matrices().items():
            if matrix.shape != wanted[name]:
                raise InvalidInput(f"{name} has shape {matrix.shape}, not {wanted[name]}", field=name)

    def matrices(self) -> dict[str, NDArray[np.float32]]:
        """The label matrices that are there, by name."""
        named = {name: getattr(self, name) for name in _MATRICES}
        return {name: matrix for name, matrix in named.items() if matrix is not None}

    def rows(self, split: str) -> NDArray[np.intp]:
        """Rows of the queries of a split, ascending."""
        return np.array(
            [row for row, query in enumerate(self.queries) if query.split == split], dtype=np.intp
        )

    def repeat(self, split: str) -> NDArray[np.float32] | None:
        """The labels with other noise of one split that judges: (H, N)."""
        if self.influence_repeat is None:
            return None
        judging = [query.split for query in self.queries if query.split != TRAIN]
        return self.influence_repeat[np.array([each == split for each in judging], dtype=bool)]

    def refuse_overlap(self) -> None:
        """Raises InvalidInput when a query that judges shares its prompt or seed with one that teaches."""
        for name in ("prompt", "seed"):
            by_split = {
                split: {getattr(self.queries[row], name) for row in self.rows(split)} for split in _SPLITS
            }
            shared = by_split[TRAIN] & (by_split[HELD_OUT] | by_split[TRANSFER])
            if shared:
                raise InvalidInput(
                    f"{len(shared)} values of {name} both teach and judge, e.g. {sorted(shared)[0]!r};"
                    " draw others",
                    field=name,
                )


def write_labels(labels: LabelSet, directory: Path) -> Path:
    """Write a label set; the manifest comes last, so a directory with one is complete."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MANIFEST).unlink(missing_ok=True)
    columns = {
        field.name: [getattr(query, field.name) for query in labels.queries] for field in _QUERY_SCHEMA
    }
    pq.write_table(pa.table(columns, schema=_QUERY_SCHEMA), directory / _QUERIES, compression="zstd")
    files = [_QUERIES]
    for name, matrix in labels.matrices().items():
        np.save(directory / f"{name}.npy", matrix.astype(np.float32))
        files.append(f"{name}.npy")
    manifest = {
        "queries": len(labels.queries),
        "works": labels.influence.shape[1],
        "generator_fingerprint": labels.generator_fingerprint,
        "corpus_name": labels.corpus_name,
        "corpus_fingerprint": labels.corpus_fingerprint,
        "decoy_fingerprint": labels.decoy_fingerprint,
        "teacher": labels.teacher,
        "files": {name: _sha256(directory / name) for name in files},
    }
    sync_tree(directory)
    with replace_file(directory / _MANIFEST, durable=True) as draft:
        draft.write_text(json.dumps(manifest, indent=2) + "\n")
    return directory


def read_labels(directory: Path) -> LabelSet:
    """Read what `write_labels` wrote.

    Raises NotReady when it is missing, FingerprintMismatch when a file changed.
    """
    if not (directory / _MANIFEST).is_file():
        raise NotReady(f"no labels at {directory}; make them with `creditline teacher label`", field="labels")
    manifest = _read_manifest(directory / _MANIFEST)
    for name, wanted in manifest["files"].items():
        if not (directory / name).is_file() or _sha256(directory / name) != wanted:
            raise FingerprintMismatch(
                f"{directory / name} changed after it was written, or is not there; copy it again, or label"
                " again",
                field="labels",
            )
    rows = pq.read_table(directory / _QUERIES).to_pylist()
    matrices = {
        name: np.load(directory / f"{name}.npy") for name in _MATRICES if f"{name}.npy" in manifest["files"]
    }
    return LabelSet(
        queries=tuple(LabelledQuery(**row) for row in rows),
        generator_fingerprint=manifest["generator_fingerprint"],
        corpus_name=manifest["corpus_name"],
        corpus_fingerprint=manifest["corpus_fingerprint"],
        decoy_fingerprint=manifest["decoy_fingerprint"],
        teacher=manifest.get("teacher", FIRST_ORDER),
        **matrices,
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        missing = [name for name in _DESCRIBED if name not in found]
    except ValueError as error:
        raise FingerprintMismatch(
            f"{path} is cut off or no label set's ({error}); copy it again", field="labels"
        ) from error
    if missing:
        raise FingerprintMismatch(
            f"{path} lacks {', '.join(missing)}; copy it again, or label again", field="labels"
        )
    return found


def join_labels(sets: Sequence[LabelSet]) -> LabelSet:
    """Label sets of one teacher, generator and corpus as one; without decoys where they are not in all.

    Raises InvalidInput when there is none, FingerprintMismatch when they are not of one kind.
    """
    if not sets:
        raise InvalidInput("there are no label sets to join; name one at least", field="labels")
    first, *others = sets
    for name in ("teacher", "generator_fingerprint", "corpus_fingerprint", "on_common_scale"):
        for other in others:
            if getattr(other, name) != getattr(first, name):
                raise FingerprintMismatch(
                    f"label sets of {name} {getattr(first, name)!r} and {getattr(other, name)!r} cannot be"
                    " joined; leave one out",
                    field="labels",
                )
    judging = [each for each in sets if any(query.split != TRAIN for query in each.queries)]
    inclusions = [each.inclusion for each in sets]
    return replace(
        first,
        queries=tuple(query for each in sets for query in each.queries),
        influence=np.concatenate([each.influence for each in sets]),
        influence_repeat=_joined([each.influence_repeat for each in judging]),
        decoy_influence=_joined([each.decoy_influence for each in sets])
        if len({each.decoy_fingerprint for each in sets}) == 1
        else None,
        inclusion=None
        if all(inclusion is None for inclusion in inclusions)
        else np.concatenate([_every(each) for each in sets]),
    )


def _every(labels: LabelSet) -> NDArray[np.float32]:
    return np.ones_like(labels.influence) if labels.inclusion is None else labels.inclusion


def _joined(matrices: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    present = [matrix for matrix in matrices if matrix is not None]
    return np.concatenate(present) if present and len(present) == len(matrices) else None


def png(pictures: Sequence[Image.Image]) -> list[bytes]:
    """Pictures as PNG bytes, the form in which label sets keep them."""
    encoded = []
    for picture in pictures:
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        encoded.append(buffer.getvalue())
    return encoded


def read_png(picture: bytes) -> Image.Image:
    """A picture, decoded to RGB."""
    return Image.open(io.BytesIO(picture)).convert("RGB")


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
