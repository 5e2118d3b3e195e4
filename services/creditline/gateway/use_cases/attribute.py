"""Attribution of a picture: the works that it owes, how much to each, and their contributors.

Stages: check → embed → search → share → record. Each is timed, and all share one deadline.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.api.answers import LOW_PROMPT_AGREEMENT, AnswerForm, AttributionAnswer
from creditline.calibration.remainder import CorpusSample, Withheld
from creditline.calibration.reranking import Reranking
from creditline.calibration.shares import Group, ScoredWork, duplicate_groups
from creditline.corpus.identity import People
from creditline.corpus.withdrawn import Withdrawn
from creditline.embedder_client.queries import EmbeddedQuery, EmbedderClient
from creditline.embedder_client.reranking import RerankedRelease, RerankerClient
from creditline.gateway.access.caller import Caller
from creditline.gateway.admission.admission import Admission
from creditline.gateway.breakers.breakers import Breakers
from creditline.gateway.deadline import Deadline
from creditline.gateway.decoding.jobs import DecodedPicture
from creditline.gateway.decoding.pool import DecoderPool
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.stopwatch import Stopwatch
from creditline.gateway.use_cases.added_works import AddedWorks, Owed
from creditline.gateway.use_cases.answers.crediting import (
    Credited,
    credited,
    line_of,
    sample_of_people,
    scored,
)
from creditline.gateway.use_cases.answers.forms import Shared, served_form, stored_form
from creditline.gateway.use_cases.answers.reranking import (
    Candidates,
    check_reading,
    check_reranking,
    reranked,
)
from creditline.gateway.use_cases.calls.recording import Recording
from creditline.gateway.use_cases.calls.repeats import Repeats, reply_of
from creditline.gateway.use_cases.filters import check_filter, index_filter
from creditline.gateway.use_cases.live_build import LiveBuild
from creditline.gateway.use_cases.private_queries import private_query
from creditline.gateway.use_cases.prompts.policy import PromptPolicy, Reading
from creditline.gateway.use_cases.prompts.shares import SharesByHalf, by_picture_alone, shares_by_half
from creditline.gateway.use_cases.releases import Releases, ServedRelease
from creditline.gateway.use_cases.requests import AttributionRequest
from creditline.gateway.withdrawals.enforcement import WithdrawalEnforcer
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.index import Hit, WorkSearch
from creditline.index import WorkFilter as IndexFilter
from creditline.index.search import ALL_WORKS, MAX_HITS
from creditline.ledger import PRIVATE, Ledger, Scope
from creditline.ledger.api.replies import ReplyOnce, RequestKey

# Copies share one line of the list, so the search fetches more hits than lines, and again more when too few
# lines result: initial over-fetch, and its growth per retry.
_SPARE_HITS = 10
_HITS_PER_LINE = 2
_OVER_FETCH_GROWTH = 4
# How many times as often an answer whose picture and prompt disagree is audited.
_LOW_AGREEMENT_AUDITS = 10


@dataclass(frozen=True)
class _SearchResult:
    """Result of a search."""

    build: str
    """Name of the build that was searched."""
    owed: Owed
    """What may be owed of it."""
    groups: tuple[Group, ...]
    """The duplicate groups to list, best first."""
    hits: dict[str, Hit]
    """Hits by work id."""
    found: tuple[ScoredWork, ...] = ()
    """The works that are to be re-ranked, nearest first."""
    candidates: Candidates | None = None
    """The same, re-ranked; None: the answer is a fast one."""


@dataclass(frozen=True, eq=False)
class _Search:
    """What to search for."""

    reading: Reading
    """How the query is read: its vector, and the calibration of its cosines."""
    k: int
    """Number of duplicate groups to find."""
    where: IndexFilter
    """Filter that the works must pass."""
    people: People
    """Which names and ids are one person."""
    generator: str
    """Fingerprint of the generator that made the picture."""
    reranked: int = 0
    """Number of works to find for a re-ranked answer, whatever groups they form; 0: none is asked for."""

    @property
    def first_limit(self) -> int:
        """Number of works to search for at first."""
        wanted = self.reranked or _HITS_PER_LINE * self.k
        return min(wanted + _SPARE_HITS, MAX_HITS)

    def is_satisfied(self, groups: Sequence[Group], works: int) -> bool:
        """Whether enough was found: `works` works in these groups."""
        return works >= self.reranked if self.reranked else len(groups) >= self.k


class Attribute:
    """The use case behind `Attribution.Attribute` and `POST /v1/attributions`."""

    def __init__(
        self,
        *,
        releases: Releases,
        embedder: EmbedderClient,
        reranker: RerankerClient,
        live_build: LiveBuild,
        added_works: AddedWorks,
        search: WorkSearch,
        ledger: Ledger,
        register: WithdrawnRegister,
        enforcer: WithdrawalEnforcer,
        metrics: GatewayMetrics,
        decoders: DecoderPool,
        admission: Admission,
        breakers: Breakers,
        audit_fraction: float,
        prompt_policy: PromptPolicy,
        reranked_works: int,
    ) -> None:
        """
        Args:
            releases: The served releases.
            embedder: Client of the embedder.
            reranker: Client of the reranker.
            live_build: The build that answers for the live release.
            added_works: The works that were added to the live release.
            search: Connection to the index.
            ledger: Ledger that records answers.
            register: The withdrawals in force.
            enforcer: Is notified when a search returns a withdrawn work.
            metrics: Durations of stages, and withheld hits.
            decoders: Decodes pictures.
            admission: Gives each request its turn.
            breakers: Breakers of embedder, Qdrant and ledger.
            audit_fraction: Fraction of answers that are sampled for an automatic audit, 0 to 1; of answers
                whose picture and prompt disagree ten times as many.
            prompt_policy: What is done with a query whose picture and prompt hardly agree.
            reranked_works: Number of works that a re-ranked answer orders.
        """
        self._releases = releases
        self._embedder = embedder
        self._reranker = reranker
        self._reranked_works = reranked_works
        self._live_build = live_build
        self._added_works = added_works
        self._search = search
        self._ledger = ledger
        self._repeats = Repeats(ledger, metrics)
        self._recording = Recording(ledger)
        self._register = register
        self._enforcer = enforcer
        self._metrics = metrics
        self._decoders = decoders
        self._admission = admission
        self._breakers = breakers
        self._audit_fraction = audit_fraction
        self._prompt_policy = prompt_policy
        # Random numbers of the operating system, so that callers cannot predict which answers are audited.
        self._random = random.SystemRandom()

    async def __call__(
        self, request: AttributionRequest, deadline: Deadline, caller: Caller
    ) -> AttributionAnswer:
        """Attribute a picture and record the answer under the caller's owner.

        Args:
            request: Picture, prompt, generator, and what to list.
            deadline: Time limit of all stages.
            caller: Who asks.

        Raises:
            PermissionDenied: The caller may not attribute pictures.
            InvalidInput: The picture, the prompt, the generator's fingerprint, `k` or the request's id cannot
                be used, or the picture passes a limit of decoding.
            FailedPrecondition: A re-ranked answer is asked for, but the release has no gradient rows.
            Conflict: The request's id was used for another request.
            ResourceExhausted: The answer would come after the deadline, or too many pictures wait.
            NotFound: The release is not served here.
            FingerprintMismatch: The release was made for another generator.
            NotReady: The embedder or the live build cannot serve the release.
            Unavailable: The embedder, Qdrant or the ledger does not answer.
            DeadlineExceeded: The deadline passed.
        """
        caller.require(Scope.ATTRIBUTE)
        request, stopwatch = replace(request, caller=caller.owner), Stopwatch()
        try:
            async with deadline.enforced():
                if not request.request_id:
                    return await self._in_turn(request, deadline, stopwatch)
                return await self._repeats.answer(
                    request, lambda key: self._in_turn(request, deadline, stopwatch, key)
                )
        finally:
            self._metrics.observe_stages(stopwatch)

    async def _in_turn(
        self,
        request: AttributionRequest,
        deadline: Deadline,
        stopwatch: Stopwatch,
        key: RequestKey | None = None,
    ) -> AttributionAnswer:
        request.check()
        turn = self._admission.turn(
            request.caller,
            deadline,
            size_bytes=len(request.image),
            large=request.vector is None and self._decoders.is_large(request.image),
            reranked=request.form is AnswerForm.RERANKED,
        )
        async with turn:
            return await self._answer(request, deadline, stopwatch, key)

    async def _answer(
        self,
        request: AttributionRequest,
        deadline: Deadline,
        stopwatch: Stopwatch,
        key: RequestKey | None,
    ) -> AttributionAnswer:
        with stopwatch.stage("check"):
            if request.filter is not None:
                check_filter(request.filter)
            release = self._releases.named(request.release)
            generator = await self._added_works.generator_of(request.generator)
            request = replace(request, generator=generator)
            reranking = None
            if request.form is AnswerForm.RERANKED:
                reranking = check_reranking(request, release, candidates=self._reranked_works)
            picture = await self._decoded(request)
        with stopwatch.stage("embed"):
            # The withdrawals are read during the embedding, so that they cost no time.
            query, withdrawn = await asyncio.gather(
                self._query(picture, request, release, deadline), self._withdrawn()
            )
            reading = self._prompt_policy.reading(query, release, private=request.vector is not None)
            if reranking is not None:
                check_reading(reading)
        with stopwatch.stage("search"):
            # Read after the withdrawals, so that it is not older than they are.
            people = self._register.people
            where = index_filter(request.filter, people) if request.filter else ALL_WORKS
            search = _Search(
                reading,
                request.k,
                where,
                people,
                request.generator,
                self._reranked_works if reranking else 0,
            )
            async with self._breakers.qdrant.call():
                result = await self._find(search, withdrawn, deadline)
                vectors = await self._vectors_of(request, result, reading, query, deadline)
        if reranking is not None and picture is not None:
            with stopwatch.stage("rerank"):
                result = await self._reranked(search, result, reranking, picture, request, release, deadline)
        with stopwatch.stage("share"):
            line, by_half = _shares(search, result, query, withdrawn, vectors)
        shared = Shared(
            request,
            release,
            query,
            reading,
            withdrawn,
            result.owed,
            line,
            by_half,
            where.narrows,
            result.candidates,
        )
        with stopwatch.stage("record"):
            answer, is_repeated = await self._recorded(shared, picture, deadline, stopwatch, key)
        self._metrics.answers.observe(
            remainder=line.remainder,
            ood_score=query.ood_score,
            prompt_agreement=query.prompt_agreement,
        )
        if key is None:
            return replace(answer, timings=stopwatch.timings())
        # Another call, perhaps of another gateway, may have answered the same request meanwhile.
        return (await self._repeats.earlier(key) if is_repeated else None) or answer

    async def _recorded(
        self,
        shared: Shared,
        picture: DecodedPicture | None,
        deadline: Deadline,
        stopwatch: Stopwatch,
        key: RequestKey | None,
    ) -> tuple[AttributionAnswer, bool]:
        """The answer with its id, and whether the request had been answered before."""
        stored = stored_form(shared, stopwatch.timings())
        file = await picture.file() if picture else b""
        record = partial(self._record, shared, file, stored, stopwatch, key)
        async with self._breakers.ledger.call():
            return await self._recording.run(record, deadline)

    async def _decoded(self, request: AttributionRequest) -> DecodedPicture | None:
        """The picture of a query; None for a private one."""
        if request.vector is not None:
            return None
        return await self._decoders.decode(request.image, caller=request.caller)

    async def _query(
        self,
        picture: DecodedPicture | None,
        request: AttributionRequest,
        release: ServedRelease,
        deadline: Deadline,
    ) -> EmbeddedQuery:
        """The query as the encoder sees it: embedded here, or by its caller."""
        if request.vector is not None:
            return private_query(request.vector, release)
        assert picture is not None
        async with self._breakers.embedder.call():
            return await self._embedder.embed(
                picture.pixels,
                request.prompt,
                release=release.summary.name,
                dimension=release.summary.dimension,
                deadline_seconds=deadline.remaining("embedding the picture"),
            )

    async def _withdrawn(self) -> Withdrawn:
        async with self._breakers.ledger.call():
            return await self._register.as_of_now()

    async def _find(self, search: _Search, withdrawn: Withdrawn, deadline: Deadline) -> _SearchResult:
        """Search until the hits are enough, or all works that pass have been returned.

        Enough are `k` duplicate groups, or the works that are to be re-ranked.
        """
        k = search.k
        build = await self._live_build.now(deadline_seconds=deadline.remaining("searching the index"))
        owed = await self._added_works.owed(
            search.generator, build, deadline_seconds=deadline.remaining("searching the index")
        )
        # The number of the build's works is no bound: works may have been added since it was counted.
        limit = search.first_limit
        while True:
            hits = await self._search.search(
                build.name,
                search.reading.vector,
                limit,
                deadline_seconds=deadline.remaining("searching the index"),
                where=search.where,
            )
            kept = [hit for hit in self._without_withdrawn(hits, withdrawn) if owed.includes(hit)]
            found = scored(kept, search.reading.calibration, search.people)
            groups = duplicate_groups(found)
            if search.is_satisfied(groups, len(kept)) or len(hits) < limit or limit == MAX_HITS:
                by_id = {hit.work_id: hit for hit in kept}
                return _SearchResult(build.name, owed, groups[:k], by_id, tuple(found[: search.reranked]))
            limit = min(limit * _OVER_FETCH_GROWTH, MAX_HITS)

    async def _reranked(
        self,
        search: _Search,
        result: _SearchResult,
        reranking: Reranking,
        picture: DecodedPicture,
        request: AttributionRequest,
        release: ServedRelease,
        deadline: Deadline,
    ) -> _SearchResult:
        """The found works, ordered by the generator's gradient."""
        with_rows = [work.work_id for work in result.found if work.work_id in release.work_ids]
        scores: dict[str, float] = {}
        if with_rows:
            async with self._breakers.reranker.call():
                scores = await self._reranker.scores(
                    picture.pixels,
                    request.prompt,
                    with_rows,
                    release=RerankedRelease(release.summary.name, reranking.rows),
                    deadline_seconds=deadline.remaining("re-ranking the nearest works"),
                )
        candidates = reranked(result.found, scores, reranking, search.reading.calibration)
        return replace(result, groups=candidates.groups[: search.k], candidates=candidates)

    async def _vectors_of(
        self,
        request: AttributionRequest,
        result: _SearchResult,
        reading: Reading,
        query: EmbeddedQuery,
        deadline: Deadline,
    ) -> Mapping[str, NDArray[np.float32]]:
        """Vectors of the listed works by id, where their shares can be divided between picture and prompt.

        Only those that the release's sample lacks are read from the index: works of a very large release, and
        added ones.
        """
        is_divided = request.form is AnswerForm.FAST and reading.picture_alone is None
        if not is_divided or query.picture_alone is None:
            return {}
        members = [member.work_id for group in result.groups for member in group.members]
        known = result.owed.release.sample.vectors_of(members)
        missing = [work_id for work_id in members if work_id not in known]
        if not missing:
            return known
        seconds = deadline.remaining("reading the vectors of the listed works")
        return known | await self._search.vectors_of(result.build, missing, deadline_seconds=seconds)

    def _without_withdrawn(self, hits: list[Hit], withdrawn: Withdrawn) -> list[Hit]:
        """Drop withdrawn works. The index filters them out itself, unless its state is behind the ledger."""
        if withdrawn.is_nothing:
            return hits
        kept = [
            hit
            for hit in hits
            if not withdrawn.covers(hit.work_id, *hit.people, contributor_id=hit.contributor_id)
        ]
        if len(kept) < len(hits):
            self._metrics.withheld_hits.inc(len(hits) - len(kept))
            self._enforcer.request_check()
        return kept

    def _record(
        self,
        shared: Shared,
        picture: bytes,
        stored: dict[str, Any],
        stopwatch: Stopwatch,
        key: RequestKey | None,
        own_id: str,
        check: Callable[[], None],
    ) -> AttributionAnswer:
        """Record the answer in the ledger, with an audit for a sampled few, and complete it. Blocks."""
        request, release = shared.request, shared.release.summary
        answer = replace(
            served_form(shared, stopwatch.timings()),
            attribution_id=own_id,
            accuracy=self._releases.stated_accuracy(release.name, request.form),
        )

        def reply(_own_id: str) -> bytes:
            nonlocal answer
            answer = replace(answer, timings=stopwatch.timings())
            return reply_of(answer)

        attribution_id = self._ledger.record_attribution(
            release=release.name,
            generator=request.generator,
            corpus=release.corpus_fingerprint,
            prompt=request.prompt,
            image=picture,
            k=request.k,
            answer=stored,
            owner=request.caller,
            with_audit=self._random.random() < self._chance_of_audit(stored),
            once=ReplyOnce(key, reply) if key else None,
            own_id=own_id,
            check=check,
            awaits_delivery=True,
        )
        return replace(answer, attribution_id=attribution_id)

    def _chance_of_audit(self, stored: dict[str, Any]) -> float:
        """Probability that an answer is audited: greater where picture and prompt disagree."""
        # An audit judges a list of all works, and needs picture and prompt.
        if stored["filter"] is not None or stored[PRIVATE]:
            return 0.0
        agreement = stored["prompt_agreement"]
        is_low = agreement is not None and agreement < LOW_PROMPT_AGREEMENT
        return min(self._audit_fraction * _LOW_AGREEMENT_AUDITS, 1.0) if is_low else self._audit_fraction


def _shares(
    search: _Search,
    result: _SearchResult,
    query: EmbeddedQuery,
    withdrawn: Withdrawn,
    vectors: Mapping[str, NDArray[np.float32]],
) -> tuple[Credited, SharesByHalf]:
    """Shares of the listed works and of contributors, and what of them rests on picture and prompt."""
    reading, owed, people = search.reading, result.owed, search.people
    release = replace(owed.release, calibration=reading.calibration, intervals=reading.intervals)
    withheld = _withheld(owed.release.sample, withdrawn, people)
    line = line_of(
        result.groups,
        reading.vector,
        release,
        withheld,
        works=owed.works,
        people=people,
        candidates=result.candidates,
        cosines=reading.cosines.with_works(owed.release.sample),
    )
    shares = [work.share for work in line.works]
    by_half = (
        by_picture_alone(shares)
        if reading.picture_alone
        else shares_by_half(shares, result.groups, query, owed, vectors)
    )
    filtered, candidates = search.where.narrows, result.candidates
    return (
        credited(
            line,
            result.groups,
            result.hits,
            release,
            by_half=by_half,
            people=people,
            only_listed=filtered,
            reranking=None if candidates is None or reading.intervals_withheld else candidates.reranking,
        ),
        by_half,
    )


# Looking up the rows takes milliseconds, and they change only with a withdrawal.
@lru_cache(maxsize=2)
def _withheld(sample: CorpusSample, withdrawn: Withdrawn, people: People) -> Withheld:
    return sample_of_people(sample, people).withheld(withdrawn.works, withdrawn.people)
