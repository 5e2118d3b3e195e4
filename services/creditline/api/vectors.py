"""Queries in the form of vectors, as callers in private mode send them."""

from __future__ import annotations

from dataclasses import dataclass

from creditline.errors import InvalidInput
from creditline.v1 import attribution_pb2

MOST_VALUES = 65_536
"""Largest number of values that are read; releases have far fewer."""


@dataclass(frozen=True)
class QueryVector:
    """A query that its caller embedded. It is the caller's word: nothing shows which picture it came from."""

    values: tuple[float, ...]
    """The vector, of length 1."""
    release: str
    """Name of the release whose encoder made it."""
    encoder: str
    """Fingerprint of that release's towers and encoder, 64 hex digits."""


def vector_message(vector: QueryVector | None) -> attribution_pb2.QueryVector | None:
    """Convert a vector to `creditline.v1.QueryVector`; None gives None, an absent field."""
    if vector is None:
        return None
    return attribution_pb2.QueryVector(values=vector.values, release=vector.release, encoder=vector.encoder)


def read_vector(message: attribution_pb2.QueryVector) -> QueryVector:
    """Convert `creditline.v1.QueryVector` to a vector. Raises InvalidInput for more than `MOST_VALUES`."""
    if len(message.values) > MOST_VALUES:
        raise InvalidInput(
            f"vector has {len(message.values):,} values; no release has more than {MOST_VALUES:,}",
            field="vector",
        )
    return QueryVector(tuple(message.values), message.release, message.encoder)
