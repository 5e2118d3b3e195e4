"""Works as Qdrant points, and points as hits."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from qdrant_client import grpc as qdrant

from creditline.corpus.works import Work
from creditline.errors import InvalidInput

# Fixed for ever: a work keeps its point id in every collection and on every machine.
_POINT_NAMESPACE = uuid.UUID("6f1d8c1e-52f3-5c0b-9a36-5d0f3b7c2a11")
# float16 storage moves a unit vector's length by far less than this.
_UNIT_LENGTH_TOLERANCE = 1e-2
# Field 1 of DenseVector, length-delimited: packed little-endian floats.
_DENSE_DATA_FIELD = b"\x0a"
_TEXT_FIELDS = ("work_id", "contributor", "title", "caption", "licence", "source", "duplicate_group")
HIT_FIELDS = (*_TEXT_FIELDS, "holders", "percents")


@dataclass(frozen=True, eq=False)
class WorkPoint:
    """One work as it is indexed. `vector`: (width,) float, of unit length.

    rights_holders: names with percentages that sum to 100; empty: the contributor alone. created: when it was
    made, in seconds since 1970.
    """

    work_id: str
    vector: npt.NDArray[np.floating]
    contributor: str
    title: str
    caption: str
    licence: str
    source: str
    duplicate_group: str
    withdrawn: bool = False
    rights_holders: tuple[tuple[str, float], ...] = ()
    created: int | None = None

    @classmethod
    def of(cls, work: Work, vector: npt.NDArray[np.floating], *, withdrawn: bool) -> Self:
        """A work of a corpus or source with its vector."""
        return cls(
            work_id=work.id,
            vector=vector,
            contributor=work.contributor,
            title=work.title,
            caption=work.caption,
            licence=work.licence,
            source=work.source,
            duplicate_group=work.duplicate_group,
            withdrawn=withdrawn,
            rights_holders=tuple((holder.name, holder.percent) for holder in work.rights_holders),
            created=work.created,
        )


class Hit(NamedTuple):
    """One work that a search found; `score` is the cosine in [-1, 1].

    Of a work that was found without its payload nothing but `point_id` and `score` is known. rights_holders:
    names with percentages, empty where the contributor alone holds the rights.
    """

    work_id: str
    score: float
    contributor: str
    title: str
    caption: str
    licence: str
    duplicate_group: str
    source: str = ""
    rights_holders: tuple[tuple[str, float], ...] = ()
    point_id: str = ""

    @property
    def holders(self) -> tuple[tuple[str, float], ...]:
        """Who is credited, with percentages that sum to 100."""
        return self.rights_holders or ((self.contributor, 100.0),)

    @property
    def people(self) -> tuple[str, ...]:
        """All who may withdraw it: rights holders, and who made it."""
        return _people(self)


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
    message = qdrant.PointStruct(
        id=qdrant.PointId(uuid=point_id(point.work_id)),
        vectors=qdrant.Vectors(vector=qdrant.Vector(dense=dense_vector(vector))),
    )
    payload = message.payload
    for name in _TEXT_FIELDS:
        payload[name].string_value = getattr(point, name)
    payload["origin"].string_value = origin(point.source)
    payload["withdrawn"].integer_value = int(point.withdrawn)
    if point.created is not None:
        payload["created"].integer_value = point.created
    for name in _people(point):
        payload["holders"].list_value.values.add().string_value = name
    for _, percent in point.rights_holders:
        payload["percents"].list_value.values.add().double_value = percent
    return message


def _people(work: WorkPoint | Hit) -> tuple[str, ...]:
    """All whom a work can be found by: rights holders, as their percentages are, then its maker."""
    return tuple(dict.fromkeys([*(name for name, _ in work.rights_holders), work.contributor]))


def origin(source: str) -> str:
    """Where a work comes from, coarsely: the host of an address, or a path's first directory."""
    return (urlsplit(source).hostname or "") if "://" in source else source.partition("/")[0]


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


def to_hit(point: qdrant.ScoredPoint, payload: Mapping[str, qdrant.Value]) -> Hit:
    """A search result with the fields of `HIT_FIELDS`, or with as many as `payload` has."""
    if not payload:
        return Hit("", point.score, "", "", "", "", "", point_id=point.id.uuid)
    texts = {name: payload[name].string_value if name in payload else "" for name in _TEXT_FIELDS}
    names, percents = (_values(payload, name) for name in ("holders", "percents"))
    return Hit(
        score=point.score,
        rights_holders=tuple(
            # A maker without a part of the rights comes after those who have one.
            (name.string_value, percent.double_value)
            for name, percent in zip(names, percents, strict=False)
        ),
        point_id=point.id.uuid,
        **texts,
    )


def _values(payload: Mapping[str, qdrant.Value], name: str) -> Sequence[qdrant.Value]:
    return payload[name].list_value.values if name in payload else ()
