"""Conversion of works to Qdrant points, and of found points to hits."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from creditline.corpus.identity import person_keys
from creditline.corpus.names import display_name
from creditline.corpus.works import Work
from creditline.errors import InvalidInput
from creditline.index.consent import CONSENT, consent_terms
from creditline.index.filters import PERSON_KEYS
from creditline.qdrant_messages import qdrant

# Never to be changed: a work keeps its point id in every collection and on every machine.
_POINT_NAMESPACE = uuid.UUID("6f1d8c1e-52f3-5c0b-9a36-5d0f3b7c2a11")
# float16 storage moves a unit vector's length by far less than this.
_UNIT_LENGTH_TOLERANCE = 1e-2
# Field 1 of DenseVector, length-delimited: packed little-endian floats.
_DENSE_DATA_FIELD = b"\x0a"
HIT_PAYLOAD_FIELDS = (
    *("work_id", "contributor", "title", "caption", "licence", "source", "duplicate_group"),
    *("holders", "percents", "contributor_id", "trained_on"),
)


@dataclass(frozen=True, eq=False)
class WorkPoint:
    """A work as it is written to the index."""

    work_id: str
    """Id of the work in its corpus."""
    vector: npt.NDArray[np.floating]
    """(D,) float, of unit length."""
    contributor: str
    """Name of the contributor."""
    title: str
    """Title of the work."""
    caption: str
    """Caption of the work."""
    licence: str
    """Licence of the work."""
    source: str
    """Path in the corpus, or URL."""
    duplicate_group: str
    """Id of the group of copies and near copies."""
    withdrawn: bool = False
    """Whether the work is hidden from searches."""
    rights_holders: tuple[tuple[str, float], ...] = ()
    """Names with percentages that sum to 100; empty: the contributor holds all rights."""
    created: int | None = None
    """Creation time: Unix time in seconds; None: unknown."""
    contributor_id: str = ""
    """Id of the contributor; empty: none."""
    consent: tuple[str, ...] = ()
    """What is said about the work's use, `use=permission`; uses about which nothing is said are left out."""
    trained_on: tuple[str, ...] = ()
    """Fingerprints of the generators that an operator stated to be trained on a work that was added to a
    release; empty for works of the release itself."""

    @classmethod
    def of(
        cls,
        work: Work,
        vector: npt.NDArray[np.floating],
        *,
        withdrawn: bool,
        trained_on: tuple[str, ...] = (),
    ) -> Self:
        """Create the point of a work of a corpus or source.

        Args:
            work: The work.
            vector: (D,) float, of unit length.
            withdrawn: Whether the work is hidden from searches.
            trained_on: Fingerprints of the generators that were trained on it, for an added work.
        """
        return cls(
            work_id=work.id,
            vector=vector,
            contributor=display_name(work.contributor),
            title=work.title,
            caption=work.caption,
            licence=work.licence,
            source=work.source,
            duplicate_group=work.duplicate_group,
            withdrawn=withdrawn,
            rights_holders=tuple(
                (display_name(holder.name), holder.percent) for holder in work.rights_holders
            ),
            created=work.created,
            contributor_id=work.contributor_id,
            consent=consent_terms(work.consent),
            trained_on=trained_on,
        )


@dataclass(frozen=True, eq=False)
class StoredWork:
    """A work as a collection holds it."""

    payload: Mapping[str, qdrant.Value]
    """Its payload."""
    vector: npt.NDArray[np.float32] | None = None
    """(D,) float32; None: not read."""

    @property
    def caption(self) -> str:
        """Caption of the work."""
        return self.payload["caption"].string_value

    @property
    def source(self) -> str:
        """Path in the corpus, or URL."""
        return self.payload["source"].string_value

    @property
    def withdrawn(self) -> bool:
        """Whether the work is hidden from searches."""
        return self.payload["withdrawn"].integer_value == 1

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the generators that were trained on an added work."""
        return _texts_of(self.payload.get("trained_on"))

    def describes(self, work: Work) -> bool:
        """Whether the payload is that of `work`, apart from withdrawal and training."""
        wanted = qdrant.PointStruct()
        fill_payload(wanted.payload, WorkPoint.of(work, np.empty(0), withdrawn=False))
        return _identity(self.payload) == _identity(wanted.payload)


def _identity(payload: Mapping[str, qdrant.Value]) -> dict[str, bytes]:
    changing = ("withdrawn", "trained_on")
    return {name: payload[name].SerializeToString() for name in payload if name not in changing}


class Hit(NamedTuple):
    """A work found by a search.

    A hit without payload has only `score` and `point_id`; its other fields are empty.
    """

    work_id: str
    """Id of the work in its corpus."""
    score: float
    """Cosine similarity to the query, in [-1, 1]."""
    contributor: str
    """Name of the contributor."""
    title: str
    """Title of the work."""
    caption: str
    """Caption of the work."""
    licence: str
    """Licence of the work."""
    duplicate_group: str
    """Id of the group of copies and near copies."""
    source: str = ""
    """Path in the corpus, or URL."""
    rights_holders: tuple[tuple[str, float], ...] = ()
    """Names with percentages; empty: the contributor holds all rights."""
    point_id: str = ""
    """Id of the point in Qdrant, see `point_id`."""
    contributor_id: str = ""
    """Id of the contributor; empty: none."""
    trained_on: tuple[str, ...] = ()
    """Fingerprints of the generators that were trained on a work added to the release; empty for its own."""

    @property
    def holders(self) -> tuple[tuple[str, float], ...]:
        """Names to be credited, with percentages that sum to 100."""
        return self.rights_holders or ((self.contributor, 100.0),)

    @property
    def people(self) -> tuple[str, ...]:
        """Names of all who may withdraw the work: its rights holders and its contributor."""
        return _people(self)


def point_id(work_id: str) -> str:
    """The id of a work's point in Qdrant: a UUIDv5 of the work id."""
    return str(uuid.uuid5(_POINT_NAMESPACE, work_id))


def checked_vectors(points: Sequence[WorkPoint], dimension: int) -> npt.NDArray[np.float32]:
    """The vectors of some points, after validation.

    Qdrant would store vectors that are not finite, report a wrong dimension late, and silently rescale
    vectors that are not of unit length.

    Args:
        points: B works.
        dimension: Dimension of the collection, D.

    Returns:
        (B, D) float32.

    Raises:
        InvalidInput: A vector has another dimension, is not finite or not of unit length; the error names the
            first such work.
    """
    for point in points:
        if point.vector.shape != (dimension,):
            raise InvalidInput(
                f"the vector of work {point.work_id!r} has shape {point.vector.shape}, but the collection has"
                f" vectors of shape ({dimension},); embed it with the release that the collection belongs to",
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
    """The Qdrant point of a work.

    The message is built directly in protobuf: pydantic models cost three times the rest of an upsert. Payload
    fields that follow from another field are left out: each takes 3 µs to write in Qdrant Edge, and disk
    space.

    Args:
        point: The work.
        vector: (D,) float32, its validated vector.
    """
    message = qdrant.PointStruct(
        id=qdrant.PointId(uuid=point_id(point.work_id)),
        vectors=qdrant.Vectors(vector=qdrant.Vector(dense=dense_vector(vector))),
    )
    fill_payload(message.payload, point)
    return message


def fill_payload(payload: MutableMapping[str, qdrant.Value], point: WorkPoint) -> None:
    """Write the payload of a work into a message."""
    for name, text in _texts(point):
        payload[name].string_value = text
    payload["withdrawn"].integer_value = int(point.withdrawn)
    if point.created is not None:
        payload["created"].integer_value = point.created
    people = _people(point)
    for key in person_keys(people, point.contributor_id):
        payload[PERSON_KEYS].list_value.values.add().string_value = key
    if point.contributor_id:
        payload["contributor_id"].string_value = point.contributor_id
    for term in point.consent:
        payload[CONSENT].list_value.values.add().string_value = term
    for fingerprint in point.trained_on:
        payload["trained_on"].list_value.values.add().string_value = fingerprint
    if not point.rights_holders:
        payload["holders"].string_value = point.contributor
        return
    payload["contributor"].string_value = point.contributor
    for name in people:
        payload["holders"].list_value.values.add().string_value = name
    for _, percent in point.rights_holders:
        payload["percents"].list_value.values.add().double_value = percent


def _texts(point: WorkPoint) -> Iterator[tuple[str, str]]:
    """Names and values of the text fields, without those that follow from another field."""
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
    """Rights holders in the order of their percentages, then the contributor, without repetition."""
    return tuple(dict.fromkeys([*(name for name, _ in work.rights_holders), work.contributor]))


def origin(source: str) -> str:
    """Coarse origin of a work: the host of a URL, or the first directory of a path."""
    return (urlsplit(source).hostname or "") if "://" in source else source.partition("/")[0]


def dense_vector(vector: npt.NDArray[np.float32]) -> qdrant.DenseVector:
    """A (D,) float32 vector as protobuf, parsed from its bytes; value by value takes eight times as long."""
    packed = vector.astype("<f4", copy=False).tobytes()
    return qdrant.DenseVector.FromString(_DENSE_DATA_FIELD + _varint(len(packed)) + packed)


def _varint(number: int) -> bytes:
    """A length in protobuf's variable-length encoding."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def to_hit(point: qdrant.ScoredPoint, payload: Mapping[str, qdrant.Value]) -> Hit:
    """A search result as a hit.

    Args:
        point: The found point.
        payload: Its payload with the fields of `HIT_PAYLOAD_FIELDS`; empty: the hit has only id and score.
    """
    if not payload:
        return hit_without_payload(point)
    texts = {name: payload[name].string_value for name in payload}
    text = texts.get
    work_id, caption = text("work_id", ""), text("caption", "")
    # Positional for speed: keyword arguments take twice as long, and every answer makes dozens of hits.
    return Hit._make(
        (
            work_id,
            point.score,
            text("contributor") or text("holders", ""),
            text("title", caption),
            caption,
            text("licence", ""),
            text("duplicate_group", work_id),
            text("source", ""),
            rights_holders_of(payload) if "percents" in texts else (),
            point.id.uuid,
            text("contributor_id", ""),
            _texts_of(payload["trained_on"]) if "trained_on" in texts else (),
        )
    )


def hit_without_payload(point: qdrant.ScoredPoint) -> Hit:
    """A search result as a hit that has only point id and score."""
    return Hit._make(("", point.score, "", "", "", "", "", "", (), point.id.uuid, "", ()))


def _texts_of(value: qdrant.Value | None) -> tuple[str, ...]:
    return tuple(each.string_value for each in value.list_value.values) if value is not None else ()


def rights_holders_of(payload: Mapping[str, qdrant.Value]) -> tuple[tuple[str, float], ...]:
    """Rights holders with their percentages; a contributor without one, who is stored last, is left out."""
    if "percents" not in payload:
        return ()
    names, percents = (payload[name].list_value.values for name in ("holders", "percents"))
    return tuple(
        (name.string_value, percent.double_value) for name, percent in zip(names, percents, strict=False)
    )
