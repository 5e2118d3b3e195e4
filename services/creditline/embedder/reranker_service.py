"""The Reranker service of `creditline.v1`: one query at a time, in a thread of its own."""

from __future__ import annotations

from typing import Any

from creditline.corpus.texts import LONGEST_PROMPT
from creditline.embedder.batcher import Batcher
from creditline.embedder.calls import answered, refuse_other_release
from creditline.embedder.metrics import CallMetrics
from creditline.embedder.reranker import Reranked, RerankItem
from creditline.embedder.service import picture_of
from creditline.errors import InvalidInput
from creditline.release import Release
from creditline.v1 import reranker_pb2 as proto
from creditline.v1.reranker_pb2_grpc import RerankerServicer

MOST_WORKS = 1_000


class RerankerService(RerankerServicer):
    """The call Rerank, for one loaded release.

    Args:
        release: The loaded release.
        rows: SHA-256 of its file of rows.
        batcher: Scores the works of one query after another.
        calls: Counts calls.
    """

    def __init__(
        self, release: Release, rows: str, batcher: Batcher[RerankItem, Reranked], calls: CallMetrics
    ) -> None:
        self._release = release
        self._rows = rows
        self._batcher = batcher
        self._calls = calls

    async def Rerank(  # noqa: N802
        self, request: proto.RerankRequest, context: Any
    ) -> proto.RerankResponse:
        """The scores of the works that have a row."""
        answer = self._rerank(request, context.time_remaining())
        # As in Embed: a call keeps the error that ends it, and that this frame, until the next collection.
        del request
        return await answered(answer, context, self._calls)

    async def _rerank(self, request: proto.RerankRequest, seconds: float | None) -> proto.RerankResponse:
        self._check(request)
        picture = picture_of(request.pixels, field="pixels")
        item = RerankItem(picture, request.prompt, tuple(request.work_ids))
        (reranked,) = await self._batcher.submit([item], seconds=seconds)
        return proto.RerankResponse(
            works=[
                proto.RerankResponse.Work(id=work_id, score=reranked.scores[work_id])
                for work_id in dict.fromkeys(request.work_ids)
                if work_id in reranked.scores
            ],
            release=self._release.name,
            rows=self._rows,
            gradient_ms=reranked.gradient_ms,
            kernel_ms=reranked.kernel_ms,
        )

    def _check(self, request: proto.RerankRequest) -> None:
        """Raise NotFound for another release, and InvalidInput for a text or a number of works."""
        refuse_other_release(request.release, self._release.name)
        if len(request.prompt) > LONGEST_PROMPT:
            raise InvalidInput(
                f"prompt has {len(request.prompt):,} characters; at most {LONGEST_PROMPT:,} are allowed:"
                " shorten it",
                field="prompt",
            )
        if not 1 <= len(request.work_ids) <= MOST_WORKS:
            raise InvalidInput(
                f"work_ids has {len(request.work_ids)} entries; send 1 to {MOST_WORKS:,}", field="work_ids"
            )
