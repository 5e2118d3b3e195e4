"""The live build of a release: its name, its number of works, and a check that it can serve the release."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np

from creditline.errors import NotReady
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.index import WorkSearch
from creditline.index.builds.promotion import Expected, mismatch_reason

_COMPARED_WORKS = 16
_STATE_SECONDS = 1.0
_VECTORS_SECONDS = 30.0


@dataclass(frozen=True)
class AnsweringBuild:
    """A build that can answer for the release."""

    name: str
    """Name of its collection."""
    works: int
    """Number of works that it holds, withdrawn ones included."""


class LiveBuild:
    """Resolves a release's alias to a build, and checks that the build can serve the release.

    Answers and readiness use the same check, so readiness is true exactly when answers are given. A
    successful check is cached for a while; after a failed or cancelled one, the next caller checks again. An
    object belongs to one event loop.
    """

    def __init__(
        self,
        release: ServedRelease,
        search: WorkSearch,
        *,
        state_seconds: float = _STATE_SECONDS,
        vectors_seconds: float = _VECTORS_SECONDS,
    ) -> None:
        """
        Args:
            release: The release that the build answers for.
            search: Connection to the index.
            state_seconds: Time for which a build's dimension and number of works are cached.
            vectors_seconds: Time for which a successful comparison of its vectors is cached.
        """
        self._release = release
        self._search = search
        self._expected = _expected_of(release)
        self._state_seconds = state_seconds
        self._vectors_seconds = vectors_seconds
        self._checking = asyncio.Lock()
        self._known = AnsweringBuild("", 0)
        self._state_until = self._vectors_until = 0.0

    async def now(self, *, deadline_seconds: float) -> AnsweringBuild:
        """The build that answers now.

        Raises:
            NotReady: The alias's build is missing, empty, or cannot serve the release.
            Unavailable: Qdrant does not answer.
            DeadlineExceeded: Qdrant did not answer in time.
        """
        alias = self._release.summary.collection
        name = await self._search.build_of(alias, deadline_seconds=deadline_seconds)
        if not self._is_fresh(name):
            async with self._checking:
                if not self._is_fresh(name):
                    await self._check(name, deadline_seconds)
        return self._known

    def _is_fresh(self, name: str) -> bool:
        return name == self._known.name and time.monotonic() < self._state_until

    async def _check(self, name: str, deadline_seconds: float) -> None:
        state = await self._search.state_of(name, deadline_seconds=deadline_seconds)
        if state.works == 0:
            raise NotReady(
                f"Qdrant's collection {name!r} is empty; fill it with `creditline index load`",
                field="collection",
            )
        if not self._is_compared(name, state.dimension):
            await self._compare_vectors(name, state.dimension, deadline_seconds)
            self._vectors_until = time.monotonic() + self._vectors_seconds
        self._known = AnsweringBuild(name, state.works)
        self._state_until = time.monotonic() + self._state_seconds

    def _is_compared(self, name: str, dimension: int) -> bool:
        unchanged = name == self._known.name and dimension == self._expected.vectors.shape[1]
        return unchanged and time.monotonic() < self._vectors_until

    async def _compare_vectors(self, name: str, dimension: int, deadline_seconds: float) -> None:
        stored = await self._search.vectors(name, self._expected.ids, deadline_seconds=deadline_seconds)
        reason = mismatch_reason(dimension, stored, self._expected)
        if reason:
            release = self._release.summary
            raise NotReady(
                f"build {name!r}, which answers as {release.collection!r}, cannot serve release"
                f" {release.name!r}: {reason}; go back with `creditline index rollback {release.collection}`,"
                " or load the release with `creditline index load`",
                field="collection",
            )


def _expected_of(release: ServedRelease) -> Expected:
    """Works of the release, evenly spread, with their vectors."""
    sample = release.sample
    last = len(sample.work_ids) - 1
    spread = np.linspace(0, last, num=_COMPARED_WORKS).astype(int).tolist() if last >= 0 else []
    # In order, each once; `np.unique` would load numpy's masked arrays.
    rows = np.array(list(dict.fromkeys(spread)), dtype=int)
    return Expected(release.summary.works, [sample.work_ids[row] for row in rows], sample.vectors[rows])
