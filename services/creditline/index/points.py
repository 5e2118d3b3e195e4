"""Works as Qdrant points, and points as hits."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput

# Fixed for ever: a work keeps its point id in every collection and on every machine.
_POINT_NAMESPACE = uuid.UUID("6f1d8c1e-52f3-5c0b-9a36-5d0f3b7c2a11")
# float16 storage moves a unit vector's length by far less than this.
_UNIT_LENGTH_TOLERANCE = 1e-2
# Field 1 of DenseVector, length-delimited: packed little-endian floats.
_DENSE_DATA_FIELD = b"\x0a"
HIT_FIELDS = ("work_id", "contributor", "title", "caption", "licence", "duplicate_group")


@dataclass(frozen=True, eq=False)
class WorkPoint:
    """One work as it is indexed. `vector`: (width,) float, of unit length."""

    work_id: str
    vector: npt.NDArray[np.floating]
    contributor: str
    title: str
    caption: str
    licence: str
    source: str
    duplicate_group: str
    withdrawn: bool = False


@dataclass(frozen=True)
class Hit:
    """One work that a search found; `score` is the cosine in [-1, 1]."""

    work_id: str
    score: float
    contributor: str
    title: str
    caption: str
    licence: str
    duplicate_group: str


def point_id(work_id: str) -> str:
    """The UUIDv5 under which a work is stored."""
    return str(uuid.uuid5(_POINT_NAMESPACE, work_id))


def checked_vectors(points: Sequence[WorkPoint], width: int) -> npt.NDArray[np.float32]:
    """The vectors of `points`: (B, width) float32.

    Raises InvalidInput naming the first work whose vector has another width, is not finite or not of unit
    length: Qdrant would store the first two wrongly or too late, and would rescale the third silently.
    """
    for point in points:
        if point.vector.shape != (width,):
            raise InvalidInput(
                f"the vector of work {point.work_id!r} has shape {point.vector.shape}, the collection holds "
                f"({width},); embed it with the release that this collection belongs to",
                field="vector",
            )
    vectors = np.stack([np.asarray(point.vector, dtype=np.float32) for point in points])
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1.0) <= _UNIT_LENGTH_TOLERANCE))
    if wrong.size:
        row = int(wrong[0])
        raise InvalidInput(
            f"the vector of work {points[row].work_id!r} has length {lengths[row]:.4g}; "
            "vectors must be finite and of length 1",
            field="vector",
        )
    return vectors


def to_qdrant(point: WorkPoint, vector: npt.NDArray[np.float32]) -> qdrant.PointStruct:
    """A Qdrant point. Built as protobuf directly: pydantic models cost three times the rest of an upsert."""
    texts = {
        "work_id": point.work_id,
        "contributor": point.contributor,
        "title": point.title,
        "caption": point.caption,
        "licence": point.licence,
        "source": point.source,
        "duplicate_group": point.duplicate_group,
    }
    payload = {name: qdrant.Value(string_value=text) for name, text in texts.items()}
    payload["withdrawn"] = qdrant.Value(integer_value=int(point.withdrawn))
    return qdrant.PointStruct(
        id=qdrant.PointId(uuid=point_id(point.work_id)),
        vectors=qdrant.Vectors(vector=qdrant.Vector(dense=dense_vector(vector))),
        payload=payload,
    )


def dense_vector(vector: npt.NDArray[np.float32]) -> qdrant.DenseVector:
    """A vector as protobuf, parsed from its own bytes: number by number takes eight times as long."""
    packed = vector.astype("<f4", copy=False).tobytes()
    return qdrant.DenseVector.FromString(_DENSE_DATA_FIELD + _varint(len(packed)) + packed)


def _varint(number: int) -> bytes:
    """Protobuf's encoding of a length."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def to_hit(point: qdrant.ScoredPoint) -> Hit:
    """A search result with the fields of `HIT_FIELDS`."""
    texts = {name: value.string_value for name, value in point.payload.items()}
    return Hit(score=point.score, **{name: texts.get(name, "") for name in HIT_FIELDS})


def listed_works_filter(contributor: str | None) -> qdrant.Filter:
    """Never a withdrawn work; of one contributor only, when one is given."""
    must = [_matches("withdrawn", qdrant.Match(integer=0))]
    if contributor is not None:
        must.append(_matches("contributor", qdrant.Match(keyword=contributor)))
    return qdrant.Filter(must=must)


def _matches(key: str, match: qdrant.Match) -> qdrant.Condition:
    return qdrant.Condition(field=qdrant.FieldCondition(key=key, match=match))
