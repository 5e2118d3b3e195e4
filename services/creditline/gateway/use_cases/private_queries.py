"""Checks of private queries: vectors that their callers embedded, in place of picture and prompt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from creditline.api.vectors import QueryVector
from creditline.embedder_client.queries import EmbeddedQuery
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.gateway.use_cases.requests import quoted

LENGTH_TOLERANCE = 1e-3
"""Largest distance of a vector's length from 1; what float32 loses is a thousandth of it."""
FIELD = "vector"
"""Name of the request's field, for errors."""
_SHOWN_DIGITS = 16


def private_query(given: QueryVector, release: ServedRelease) -> EmbeddedQuery:
    """The query of a vector, of length 1.

    Args:
        given: The vector, with the name and fingerprint of the release that made it.
        release: The release that answers.

    Raises:
        FingerprintMismatch: Another release made the vector.
        InvalidInput: It has another dimension, is not finite, or its length is not 1.
    """
    _check_release(given, release)
    dimension = release.summary.dimension
    if len(given.values) != dimension:
        raise InvalidInput(
            f"vector has {len(given.values):,} values; those of release {release.summary.name!r} have"
            f" {dimension:,}",
            field=FIELD,
        )
    return EmbeddedQuery(_of_length_one(given), ood_score=None, prompt_agreement=None)


def _check_release(given: QueryVector, release: ServedRelease) -> None:
    name, fingerprint = release.summary.name, release.encoder_fingerprint
    if (given.release, given.encoder) != (name, fingerprint):
        raise FingerprintMismatch(
            f"the vector was made with release {quoted(given.release)}, encoder"
            f" {quoted(given.encoder[:_SHOWN_DIGITS])}, but this gateway answers with release {name!r},"
            f" encoder {fingerprint[:_SHOWN_DIGITS]!r}; embed the query with the gateway's release",
            field=FIELD,
        )


def _of_length_one(given: QueryVector) -> NDArray[np.float32]:
    vector = np.asarray(given.values, dtype=np.float64)
    length = float(np.linalg.norm(vector))
    # A value that is not finite makes the length not finite.
    if not abs(length - 1.0) <= LENGTH_TOLERANCE:
        raise InvalidInput(
            f"vector has length {length:.6g}; send finite values whose length is 1, within"
            f" {LENGTH_TOLERANCE:g}",
            field=FIELD,
        )
    return (vector / length).astype(np.float32)
