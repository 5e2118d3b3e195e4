"""Who made a build: a mark in the collection's metadata, written when the collection is created.

A release owns the builds that carry its mark. Anything else (an ingest, another release, a collection made by
an older version) belongs to an operator, whatever its name is.
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
_HASHED_ROWS = 65_536


class BuildState(StrEnum):
    """How far the load of a build has come."""

    FILLING = "filling"
    VERIFIED = "verified"
    PROMOTED = "promoted"


def _new_load() -> str:
    return uuid.uuid4().hex


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class BuildMark:
    """What a release's load writes into the metadata of its build."""

    release: str
    """The release's name."""

    fingerprint: str
    """SHA-256 of the release's work ids and vectors, see `fingerprint_of`."""

    works: int
    """How many works the build holds when it is complete."""

    load: str = field(default_factory=_new_load)
    """The load that made the build, unique."""

    begun: str = field(default_factory=_now)
    """When that load began: ISO 8601, UTC."""

    state: BuildState = BuildState.FILLING
    """How far the load has come."""

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """The mark that `to_json` wrote; None for anything else."""
        try:
            content = json.loads(text)
            return cls(**{**content, "state": BuildState(content["state"])})
        except (ValueError, TypeError, KeyError):
            return None

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(asdict(self))

    @property
    def is_whole(self) -> bool:
        """Whether the build has been filled and verified."""
        return self.state is not BuildState.FILLING

    def at(self, state: BuildState) -> Self:
        """The mark of the same build in a later state."""
        return replace(self, state=state)


def fingerprint_of(work_ids: Sequence[str], vectors: npt.NDArray[np.float32]) -> str:
    """SHA-256 of works and vectors.

    Args:
        work_ids: N ids, in row order.
        vectors: (N, width) float32.
    """
    digest = hashlib.sha256(json.dumps([list(vectors.shape), list(work_ids)]).encode())
    for first in range(0, len(vectors), _HASHED_ROWS):
        digest.update(np.ascontiguousarray(vectors[first : first + _HASHED_ROWS], dtype="<f4").data)
    return digest.hexdigest()


def mark_of(index: WorkIndex, build: str) -> BuildMark | None:
    """The mark of a collection; None where it has none. Raises NotReady when the collection is missing."""
    text = index.metadata(build).get(METADATA_KEY)
    return BuildMark.from_json(text) if text is not None else None


def write_mark(index: WorkIndex, build: str, mark: BuildMark) -> None:
    """Replace the mark of a collection. Raises NotReady when the collection is missing."""
    index.set_metadata(build, {METADATA_KEY: mark.to_json()})


def owned_build(index: WorkIndex, build: str, release: str) -> BuildMark | None:
    """The mark of a build that the release made and that still holds what it was made with.

    None for a build of others, and for a whole one whose number of works has been changed since: an operator
    has added works to it or removed some. Also None when the build is deleted meanwhile.
    """
    try:
        mark = mark_of(index, build)
        if mark is None or mark.release != release:
            return None
        changed = mark.is_whole and index.count(build) != mark.works
    except NotReady:
        return None
    return None if changed else mark
