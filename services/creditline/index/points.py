"""Works as Qdrant points, and points as hits."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
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
HIT_FIELDS = (
    *("work_id", "contributor", "title", "caption", "licence", "source", "duplicate_group"),
    *("holders", "percents"),
)


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


def checked_vectors(points: Sequence[WorkPoint], dimension: int) -> npt.NDArray[np.float32]:
    """The vectors of `points`: (B, width) float32.

    Raises InvalidInput naming the first work whose vector has another width, is not finite or not of unit
    length: Qdrant would store the first two wrongly or too late, and would rescale the third silently.
    """
    for point in points:
        if point.vector.shape != (dimension,):
            raise InvalidInput(
                f"the vector of work {point.work_id!r} has shape {point.vector.shape}, the collection holds "
                f"({dimension},); embed it with the release that this collection belongs to",
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
    """A Qdrant point. Built as protobuf directly: pydantic models cost three times the rest of an upsert.

    A field that another tells is left out: each takes 3 µs to write in Qdrant Edge, and its room on disk.
    """
    message = qdrant.PointStruct(
        id=qdrant.PointId(uuid=point_id(point.work_id)),
        vectors=qdrant.Vectors(vector=qdrant.Vector(dense=dense_vector(vector))),
    )
    payload = message.payload
    for name, text in _texts(point):
        payload[name].string_value = text
    payload["withdrawn"].integer_value = int(point.withdrawn)
    if point.created is not None:
        payload["created"].integer_value = point.created
    if not point.rights_holders:
        payload["holders"].string_value = point.contributor
        return message
    payload["contributor"].string_value = point.contributor
    for name in _people(point):
        payload["holders"].list_value.values.add().string_value = name
    for _, percent in point.rights_holders:
        payload["percents"].list_value.values.add().double_value = percent
    return message


def _texts(point: WorkPoint) -> Iterator[tuple[str, str]]:
    """The fields that are plain texts, but for those that another one tells."""
    yield "work_id", point.work_id
    yield "caption", point.caption
    if point.title != point.caption:
        yield "title", point.title
    yield "licence", point.licence
    yield "source", point.source
    yield "origin", origin(point.source)
    if point.duplicate_group != point.work_id:
        yield "duplicate_group", point.duplicate_group


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
    """A search result with the fields of `HIT_FIELDS`, or with none when there is no payload."""
    if not payload:
        return bare_hit(point)
    texts = {name: payload[name].string_value for name in payload}
    work_id, caption = texts.get("work_id", ""), texts.get("caption", "")
    return Hit(
        work_id=work_id,
        score=point.score,
        contributor=texts.get("contributor") or texts.get("holders", ""),
        title=texts.get("title", caption),
        caption=caption,
        licence=texts.get("licence", ""),
        duplicate_group=texts.get("duplicate_group", work_id),
        source=texts.get("source", ""),
        rights_holders=_split(payload) if "percents" in payload else (),
        point_id=point.id.uuid,
    )


def bare_hit(point: qdrant.ScoredPoint) -> Hit:
    """A search result of which only id and score were asked for."""
    # By position: long lists are made of these, and names take twice as long.
    return Hit._make(("", point.score, "", "", "", "", "", "", (), point.id.uuid))


def _split(payload: Mapping[str, qdrant.Value]) -> tuple[tuple[str, float], ...]:
    """Rights holders with their parts; a maker without a part comes after those who have one."""
    names, percents = (payload[name].list_value.values for name in ("holders", "percents"))
    return tuple((name.string_value, part.double_value) for name, part in zip(names, percents, strict=False))
