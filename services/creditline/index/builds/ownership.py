"""Ownership of builds: a mark in a collection's metadata that names the release whose load created it.

The mark is written when the collection is created. A release owns the builds with its mark. Any other
collection (from an ingest, another release or an older version) belongs to an operator, whatever its name.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from creditline.errors import NotReady
from creditline.index.works import WorkIndex

METADATA_KEY = "creditline_build"
_ROWS_PER_HASH_UPDATE = 65_536


class BuildState(StrEnum):
    """Progress of the load of a build."""

    FILLING = "filling"
    """Works are being written, or the load was interrupted."""

    VERIFIED = "verified"
    """The build is complete and verified, but has never been live."""

    PROMOTED = "promoted"
    """The build is live, or has been."""


def _new_load() -> str:
    return uuid.uuid4().hex


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class BuildMark:
    """Mark that the load of a release stores in the metadata of its build."""

    release: str
    """Name of the release."""

    fingerprint: str
    """SHA-256 of the release's work ids and vectors in hexadecimal, see `fingerprint_of`."""

    works: int
    """Number of works of the complete build."""

    load: str = field(default_factory=_new_load)
    """Unique id of the load that created the build."""

    begun: str = field(default_factory=_now)
    """Start time of that load: ISO 8601, UTC."""

    state: BuildState = BuildState.FILLING
    """Progress of that load."""

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """Parse a mark written by `to_json`; None for any other text."""
        try:
            content = json.loads(text)
            return cls(**{**content, "state": BuildState(content["state"])})
        except (ValueError, TypeError, KeyError):
            return None

    def to_json(self) -> str:
        """The mark as a JSON object."""
        return json.dumps(asdict(self))

    @property
    def is_whole(self) -> bool:
        """Whether the build is complete and verified."""
        return self.state is not BuildState.FILLING

    def at(self, state: BuildState) -> Self:
        """A copy of the mark with another state."""
        return replace(self, state=state)


def fingerprint_of(work_ids: Sequence[str], vectors: npt.NDArray[np.float32]) -> str:
    """SHA-256 of work ids and vectors.

    Args:
        work_ids: N ids, in row order.
        vectors: (N, D) float32.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([list(vectors.shape), list(work_ids)]).encode())
    for first in range(0, len(vectors), _ROWS_PER_HASH_UPDATE):
        digest.update(np.ascontiguousarray(vectors[first : first + _ROWS_PER_HASH_UPDATE], dtype="<f4").data)
    return digest.hexdigest()


def mark_of(index: WorkIndex, build: str) -> BuildMark | None:
    """The mark of a collection; None: it has no mark. Raises NotReady when the collection is missing."""
    text = index.metadata(build).get(METADATA_KEY)
    return BuildMark.from_json(text) if text is not None else None


def write_mark(index: WorkIndex, build: str, mark: BuildMark) -> None:
    """Replace the mark of a collection. Raises NotReady when the collection is missing."""
    index.set_metadata(build, {METADATA_KEY: mark.to_json()})


def owned_build(index: WorkIndex, build: str, release: str) -> BuildMark | None:
    """The mark of a build that a release owns.

    A release no longer owns a complete build whose number of works has changed: an operator has added or
    removed works.

    Args:
        index: Client of the index.
        build: Name of the collection.
        release: Name of the release.

    Returns:
        The mark; None when the release does not own the build, or the build does not exist.
    """
    try:
        mark = mark_of(index, build)
        if mark is None or mark.release != release:
            return None
        changed = mark.is_whole and index.count(build) != mark.works
    except NotReady:
        return None
    return None if changed else mark
