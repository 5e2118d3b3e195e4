"""Attribute: which works does this picture owe, how much to each, and who made them?

check → embed → search → share → record, each timed, all under one deadline.
"""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.answers import AttributionAnswer, AuditedAccuracy
from creditline.calibration.shares import Group, duplicate_groups
from creditline.gateway.crediting import credited, scored
from creditline.gateway.deadline import Deadline
from creditline.gateway.embedding import EmbeddedQuery, EmbedderClient
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.pictures import query_picture
from creditline.gateway.releases import Releases, ServedRelease
from creditline.gateway.requests import AttributionRequest
from creditline.gateway.stopwatch import Stopwatch
from creditline.index import Hit, WorkSearch
from creditline.ledger import Ledger

# Copies share a line of the list, so more hits than lines are searched for, and more again when needed.
_SPARE_HITS = 10
_HITS_PER_LINE = 2
_GROWTH = 4


@dataclass(frozen=True)
class _Found:
    """What a search found: the groups, best first, and the hits by work id."""

    groups: tuple[Group, ...]
    hits: dict[str, Hit]


class Attribute:
    """The use case behind `Attribution.Attribute` and `POST /v1/attributions`.

    `decoders` runs the decoding of pictures; `audit_fraction` of the answers are audited unasked.
    """

    def __init__(
        self,
        *,
        releases: Releases,
        embedder: EmbedderClient,
        search: WorkSearch,
        ledger: Ledger,
        metrics: GatewayMetrics,
        decoders: Executor,
        audit_fraction: float,
    ) -> None:
        self._releases = releases
        self._embedder = embedder
        self._search = search
        self._ledger = ledger
        self._metrics = metrics
        self._decoders = decoders
        self._audit_fraction = audit_fraction
        # From the system, so that no caller can foresee which answers are audited.
        self._random = random.SystemRandom()

    async def __call__(self, request: AttributionRequest, deadline: Deadline) -> AttributionAnswer:
        """Answer one request. Raises the CreditlineErrors of its stages and DeadlineExceeded."""
        stopwatch = Stopwatch()
        try:
            async with deadline.held():
                return await self._answer(request, deadline, stopwatch)
        finally:
            self._metrics.observe_stages(stopwatch)

    async def _answer(
        self, request: AttributionRequest, deadline: Deadline, stopwatch: Stopwatch
    ) -> AttributionAnswer:
        with stopwatch.stage("check"):
            request.check()
            release = self._releases.named(request.release)
            release.check_generator(request.generator)
            picture = await self._decoded(request.image)
        with stopwatch.stage("embed"):
            query = await self._embedded(picture, request.prompt, release, deadline)
        with stopwatch.stage("search"):
            found = await self._find(query.vector, request.k, release, deadline)
        with stopwatch.stage("share"):
            line = credited(found.groups[: request.k], found.hits, query.vector, release)
        with stopwatch.stage("record"):
            stored = {
                "works": [asdict(work) for work in line.works],
                "contributors": [asdict(person) for person in line.contributors],
                "remainder": line.remainder,
                "concentration": line.concentration,
                "unfamiliarity": query.unfamiliarity,
                # For audits: what would have been served for works that were not listed.
                "vector": query.vector.tolist(),
            }
            attribution_id, accuracy = await asyncio.to_thread(
                self._record, request, release, picture, stored
            )
        return AttributionAnswer(
            attribution_id,
            line.works,
            line.contributors,
            line.remainder,
            release.summary,
            stopwatch.timings(),
            accuracy,
            concentration=line.concentration,
            remainder_low=line.remainder_ends[0],
            remainder_high=line.remainder_ends[1],
            level=line.level,
            unfamiliarity=query.unfamiliarity,
        )

    async def _decoded(self, image: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, query_picture, image)

    async def _embedded(
        self, picture: bytes, prompt: str, release: ServedRelease, deadline: Deadline
    ) -> EmbeddedQuery:
        return await self._embedder.embed(
            picture,
            prompt,
            release=release.summary.name,
            width=release.summary.width,
            deadline_seconds=deadline.remaining("embedding the picture"),
        )

    async def _find(
        self, vector: NDArray[np.float32], k: int, release: ServedRelease, deadline: Deadline
    ) -> _Found:
        """Search until the hits form `k` duplicate groups or there are no more works."""
        works = max(release.summary.works, 1)
        build = await self._search.build_of(
            release.summary.collection, deadline_seconds=deadline.remaining("searching the index")
        )
        limit = min(_HITS_PER_LINE * k + _SPARE_HITS, works)
        while True:
            hits = await self._search.search(
                build,
                vector,
                limit,
                deadline_seconds=deadline.remaining("searching the index"),
            )
            groups = duplicate_groups(scored(hits, release.calibration))
            if len(groups) >= k or len(hits) < limit or limit == works:
                return _Found(groups, {hit.work_id: hit for hit in hits})
            limit = min(limit * _GROWTH, works)

    def _record(
        self, request: AttributionRequest, release: ServedRelease, picture: bytes, stored: dict[str, Any]
    ) -> tuple[str, AuditedAccuracy]:
        """Write the answer into the ledger, from where audits take it. Blocks."""
        attribution_id = self._ledger.record_attribution(
            release=release.summary.name,
            generator=request.generator,
            corpus=release.summary.corpus_fingerprint,
            prompt=request.prompt,
            image=picture,
            k=request.k,
            answer=stored,
            with_audit=self._random.random() < self._audit_fraction,
        )
        return attribution_id, self._releases.accuracy(release.summary.name)
