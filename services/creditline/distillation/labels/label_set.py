"""Label sets: generated queries with the teacher's influence of the works on each of them.

A label set is a directory of these files:

label-set.json          names, counts, fingerprints, SHA-256 of the other files
queries.parquet         picture (PNG), prompt, seed, guidance, split; row q is query q
influence.npy           (Q, N) float32: the teacher's influence of work n on query q
influence_repeat.npy    (H, N) float32, optional: influence with other noise, of the evaluation queries
inclusion.npy           (Q, N) float32, optional: probability that a work was labelled for a query
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

# The evaluation splits are held-out and transfer: queries of another kind than the training queries.
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
    """A generated picture with the inputs of its generation."""

    picture: bytes
    """The picture as PNG."""
    prompt: str
    """Prompt that the picture was generated from."""
    seed: int
    """Seed of the sampler."""
    guidance: float
    """Scale of classifier-free guidance."""
    split: str
    """"train", "heldout" or "transfer"."""

    def image(self) -> Image.Image:
        """Decode the picture to RGB."""
        return read_png(self.picture)


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Queries with the teacher's influence of the works of a corpus.

    Raises:
        InvalidInput: A split is unknown, the shapes do not agree, or a matrix holds a NaN or an infinity.
    """

    queries: tuple[LabelledQuery, ...]
    """The Q queries."""
    influence: NDArray[np.float32]
    """(Q, N) float32, influence of work n of the corpus on query q."""
    generator_fingerprint: str
    """Fingerprint of the generator that made the pictures."""
    corpus_name: str
    """Name of the corpus."""
    corpus_fingerprint: str
    """Fingerprint of the corpus."""
    influence_repeat: NDArray[np.float32] | None = None
    """(H, N) float32, influence with other noise, of the evaluation queries in order; None: labelled once."""
    decoy_influence: NDArray[np.float32] | None = None
    """(Q, D) float32, influence of pictures that the generator never saw."""
    decoy_fingerprint: str = ""
    """Fingerprint of the corpus of decoys."""
    inclusion: NDArray[np.float32] | None = None
    """(Q, N) float32, probability with which each work was drawn to be labelled; where it is 0, the influence
    is no label. None: every work was labelled for every query."""
    teacher: str = FIRST_ORDER
    """Name of the method that labelled."""
    on_common_scale: bool = False
    """Whether the scores are mapped to expected ΔL; never so on disk."""

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
        shapes = {
            "influence": (count, works),
            "influence_repeat": (count - len(self.rows(TRAIN)), works),
            "inclusion": (count, works),
            "decoy_influence": (
                count,
                *(self.decoy_influence.shape[1:2] if self.decoy_influence is not None else ()),
            ),
        }
        for name, matrix in self.matrices().items():
            if matrix.shape != shapes[name]:
                raise InvalidInput(
                    f"{name} has shape {matrix.shape}, not {shapes[name]}; label the queries again",
                    field=name,
                )

    def matrices(self) -> dict[str, NDArray[np.float32]]:
        """The matrices of the label set by name, without those that are None."""
        named = {name: getattr(self, name) for name in _MATRICES}
        return {name: matrix for name, matrix in named.items() if matrix is not None}

    def rows(self, split: str) -> NDArray[np.intp]:
        """Row numbers of the queries of a split, ascending: (S,) int."""
        return np.array(
            [row for row, query in enumerate(self.queries) if query.split == split], dtype=np.intp
        )

    def repeat(self, split: str) -> NDArray[np.float32] | None:
        """Influence with other noise of one evaluation split: (S, N) float32; None: labelled once."""
        if self.influence_repeat is None:
            return None
        splits = [query.split for query in self.queries if query.split != TRAIN]
        return self.influence_repeat[np.array([other == split for other in splits], dtype=bool)]

    def refuse_overlap(self) -> None:
        """Check that evaluation queries share neither prompt nor seed with training queries.

        Raises:
            InvalidInput: A prompt or a seed is in both.
        """
        for name in ("prompt", "seed"):
            by_split = {
                split: {getattr(self.queries[row], name) for row in self.rows(split)} for split in _SPLITS
            }
            shared = by_split[TRAIN] & (by_split[HELD_OUT] | by_split[TRANSFER])
            if shared:
                raise InvalidInput(
                    f"training and evaluation queries share {len(shared)} values of {name}, e.g."
                    f" {sorted(shared)[0]!r}; draw other queries",
                    field=name,
                )


def write_labels(labels: LabelSet, directory: Path) -> Path:
    """Write a label set; the manifest is written last, so a directory with a manifest is complete.

    Args:
        labels: The label set.
        directory: Directory to write to; it is created if needed.

    Returns:
        The directory.
    """
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
    """Read a label set that `write_labels` wrote.

    Raises:
        NotReady: The directory holds no label set.
        FingerprintMismatch: A file has changed or is missing.
    """
    if not (directory / _MANIFEST).is_file():
        raise NotReady(
            f"there are no labels at {directory}; make them with `creditline teacher label`", field="labels"
        )
    manifest = _read_manifest(directory / _MANIFEST)
    for name, digest in manifest["files"].items():
        if not (directory / name).is_file() or _sha256(directory / name) != digest:
            raise FingerprintMismatch(
                f"{directory / name} changed after it was written, or is not there; copy it again, or label"
                " the queries again",
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
        manifest: dict[str, Any] = json.loads(path.read_text())
        missing = [name for name in _DESCRIBED if name not in manifest]
    except ValueError as error:
        raise FingerprintMismatch(
            f"{path} is cut off or is not the manifest of a label set ({error}); copy it again",
            field="labels",
        ) from error
    if missing:
        raise FingerprintMismatch(
            f"{path} lacks {', '.join(missing)}; copy it again, or label the queries again", field="labels"
        )
    return manifest


def join_labels(sets: Sequence[LabelSet]) -> LabelSet:
    """Join label sets of one teacher, generator and corpus.

    The influence of decoys is kept only where all label sets have it, for the same decoys.

    Raises:
        InvalidInput: `sets` is empty.
        FingerprintMismatch: The label sets differ in teacher, generator or corpus.
    """
    if not sets:
        raise InvalidInput("there are no label sets to join; name at least one", field="labels")
    first, *others = sets
    for name in ("teacher", "generator_fingerprint", "corpus_fingerprint", "on_common_scale"):
        for other in others:
            if getattr(other, name) != getattr(first, name):
                raise FingerprintMismatch(
                    f"label sets of {name} {getattr(first, name)!r} and {getattr(other, name)!r} cannot be"
                    " joined; leave one of them out",
                    field="labels",
                )
    with_evaluation = [part for part in sets if any(query.split != TRAIN for query in part.queries)]
    inclusions = [part.inclusion for part in sets]
    return replace(
        first,
        queries=tuple(query for part in sets for query in part.queries),
        influence=np.concatenate([part.influence for part in sets]),
        influence_repeat=_join([part.influence_repeat for part in with_evaluation]),
        decoy_influence=_join([part.decoy_influence for part in sets])
        if len({part.decoy_fingerprint for part in sets}) == 1
        else None,
        inclusion=None
        if all(inclusion is None for inclusion in inclusions)
        else np.concatenate([_inclusion_of(part) for part in sets]),
    )


def _inclusion_of(labels: LabelSet) -> NDArray[np.float32]:
    """Inclusion probabilities; all 1 where every work was labelled. (Q, N)."""
    return np.ones_like(labels.influence) if labels.inclusion is None else labels.inclusion


def _join(matrices: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """The matrices one below the other; None unless all are given."""
    present = [matrix for matrix in matrices if matrix is not None]
    return np.concatenate(present) if present and len(present) == len(matrices) else None


def png(pictures: Sequence[Image.Image]) -> list[bytes]:
    """Encode pictures as PNG, the form in which label sets store them."""
    encoded = []
    for picture in pictures:
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        encoded.append(buffer.getvalue())
    return encoded


def read_png(picture: bytes) -> Image.Image:
    """Decode a PNG to RGB."""
    return Image.open(io.BytesIO(picture)).convert("RGB")


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
