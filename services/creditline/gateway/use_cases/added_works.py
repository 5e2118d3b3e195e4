"""Works that were added to the live release: for which generators they are owed, and how many are new."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from creditline.calibration.remainder import SAMPLE_SIZE, CorpusSample
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.gateway.use_cases.live_build import AnsweringBuild
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.index import Hit, WorkSearch
from creditline.ledger import Additions, Ledger

_FRESH_SECONDS = 1.0
# While works are being added, their number changes with every check; their vectors are read less often.
_SAMPLE_SECONDS = 10.0
_SAMPLE_SEED = 0
_READ_SECONDS = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Owed:
    """What may be owed for the pictures of one generator."""

    generator: str
    """Fingerprint of the generator."""
    release: ServedRelease
    """The release; its sample covers the works that the generator was trained on."""
    release_works: Container[str]
    """Ids of the works of the release itself."""
    works: int
    """Number of works of the build that the generator was trained on."""
    newer: int
    """Number of these that were added after the calibration."""
    outdated: bool | None
    """Whether a check found that the calibration does not hold for them; None: there was no check."""
    sequence: int
    """Number of records about additions that this takes into account."""

    def includes(self, hit: Hit) -> bool:
        """Whether a work of the build can be owed anything: the generator was trained on it."""
        return hit.work_id in self.release_works or self.generator in hit.trained_on


class AddedWorks:
    """The additions to the live release, as ledger and index hold them.

    A work that a generator was never trained on is owed nothing by its pictures: the release's own works are
    owed by its generator and by those that a statement names, an added work only by those. An object belongs
    to one event loop.

    Args:
        release: The live release.
        search: Connection to the index.
        ledger: The ledger with the statements.
        fresh_seconds: Time for which statements and numbers of works are cached.
        sample_seconds: Time for which the vectors of added works are cached while their number changes.
    """

    def __init__(
        self,
        release: ServedRelease,
        search: WorkSearch,
        ledger: Ledger,
        *,
        fresh_seconds: float = _FRESH_SECONDS,
        sample_seconds: float = _SAMPLE_SECONDS,
    ) -> None:
        self._release = release
        self._search = search
        self._ledger = ledger
        self._fresh_seconds = fresh_seconds
        self._sample_seconds = sample_seconds
        self._reading = asyncio.Lock()
        self._additions = Additions()
        self._additions_until = 0.0
        self._owed: dict[str, tuple[AnsweringBuild, Owed]] = {}
        self._samples: dict[str, _KnownSample] = {}

    async def generator_of(self, fingerprint: str) -> str:
        """Fingerprint of the generator of a request: the release's own, or one that a statement names.

        Args:
            fingerprint: As the request states it; empty for the only generator that is served.

        Raises:
            FingerprintMismatch: The release does not answer for this generator.
            InvalidInput: The request leaves it out, but statements name further generators.
            Unavailable: The ledger does not answer.
        """
        own = self._release.summary.generator_fingerprint
        if fingerprint == own:
            return own
        stated = (await self.additions()).generators - {own}
        if not fingerprint and not stated:
            return own
        if not fingerprint:
            raise InvalidInput(
                f"release {self._release.summary.name!r} answers for {1 + len(stated)} generators; send the"
                f" fingerprint of the one that made the picture, such as {own}",
                field="generator",
            )
        if fingerprint not in stated:
            raise FingerprintMismatch(
                f"generator {fingerprint} is not known to release {self._release.summary.name!r}, which was"
                f" made for {own}; request a release of that generator, or state with `creditline index add"
                " --trained-on` which works it was trained on besides",
                field="generator",
            )
        return fingerprint

    async def owed(self, generator: str, build: AnsweringBuild, *, deadline_seconds: float) -> Owed:
        """What may be owed for the pictures of a generator.

        Args:
            generator: Fingerprint of a generator as `generator_of` returns it.
            build: The build that answers.
            deadline_seconds: Time that the calls may take.

        Raises:
            Unavailable: Qdrant or the ledger does not answer.
            DeadlineExceeded: Qdrant did not answer in time.
        """
        additions = await self.additions()
        if not self._is_current(generator, build, additions):
            async with self._reading:
                if not self._is_current(generator, build, additions):
                    owed = await self._read(generator, build, additions, deadline_seconds)
                    self._owed[generator] = (build, owed)
        return self._owed[generator][1]

    async def indexed(self, work_ids: Sequence[str]) -> Mapping[str, Hit]:
        """Works of the live build by id, withdrawn ones included; ids that it does not hold are left out.

        Raises:
            NotReady: There is no live build.
            Unavailable: Qdrant does not answer.
        """
        return await self._search.works(self._release.summary.collection, work_ids)

    async def after(self, point_id: str, limit: int) -> tuple[list[Hit], bool]:
        """Added works of the live build after a point, withdrawn ones included, in the order of their points.

        Args:
            point_id: The point; empty: from the first.
            limit: Largest number of works.

        Returns:
            The works, and whether there are more.

        Raises:
            NotReady: There is no live build.
            Unavailable: Qdrant does not answer.
        """
        return await self._search.added_after(self._release.summary.collection, point_id, limit)

    async def additions(self) -> Additions:
        """The records about the additions, at most `fresh_seconds` old. Raises Unavailable."""
        if time.monotonic() > self._additions_until:
            async with self._reading:
                if time.monotonic() > self._additions_until:
                    name = self._release.summary.name
                    self._additions = await self._ledger.threads.read(self._ledger.additions, name)
                    self._additions_until = time.monotonic() + self._fresh_seconds
        return self._additions

    def _is_current(self, generator: str, build: AnsweringBuild, additions: Additions) -> bool:
        known = self._owed.get(generator)
        return known is not None and known[0] is build and known[1].sequence == additions.sequence

    async def _read(
        self, generator: str, build: AnsweringBuild, additions: Additions, deadline_seconds: float
    ) -> Owed:
        release, own = self._release, self._release.summary.works
        if not additions.records:
            return Owed(
                generator, release, release.work_ids, min(build.works, own), 0, None, additions.sequence
            )
        count = partial(self._search.count_added, build.name, deadline_seconds=deadline_seconds)
        tagged, newer = await asyncio.gather(count(), count(generator))
        sample = await self._sample(generator, build, newer, deadline_seconds)
        holds = additions.of_generator(generator).calibration_holds
        return Owed(
            generator=generator,
            release=replace(release, sample=sample.works, names=sample.names),
            release_works=release.work_ids,
            works=min(max(build.works - tagged, 0), own) + newer,
            newer=newer,
            outdated=None if holds is None else holds == "no",
            sequence=additions.sequence,
        )

    async def _sample(
        self, generator: str, build: AnsweringBuild, newer: int, deadline_seconds: float
    ) -> _KnownSample:
        """The release's sample with the build's added works, read again when their number changes."""
        known = self._samples.get(generator)
        is_usable = known is not None and known.build == build.name
        if known is not None and is_usable and (known.newer == newer or time.monotonic() < known.until):
            return known
        sample, names = self._release.sample, self._release.names
        if newer:
            found = await self._search.sample_added(
                build.name, generator, SAMPLE_SIZE, deadline_seconds=deadline_seconds
            )
            if found.work_ids:
                added = CorpusSample(
                    tuple(found.work_ids),
                    tuple(found.holders),
                    found.vectors,
                    max(newer, len(found.rows)),
                )
                sample, names = sample.with_added(added, seed=_SAMPLE_SEED), found.names
        until = time.monotonic() + self._sample_seconds
        self._samples[generator] = _KnownSample(build.name, newer, until, sample, names)
        return self._samples[generator]


@dataclass(frozen=True, eq=False)
class _KnownSample:
    """A sample that was drawn from a build."""

    build: str
    """Name of the build."""
    newer: int
    """Number of added works when it was drawn."""
    until: float
    """Monotonic time before which it is not drawn again."""
    works: CorpusSample
    """The sample."""
    names: dict[str, tuple[str, str]]
    """Names and ids of the people of the added works, by key."""
