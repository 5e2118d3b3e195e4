"""Works' vectors from the embedder service: what an ingest of pictures asks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import grpc
import numpy as np
from numpy.typing import NDArray

from creditline.corpus.sources import Found
from creditline.embedder_client.channel import channel_options
from creditline.embedder_client.failures import translate_errors
from creditline.errors import InvalidInput, ResourceExhausted, Unavailable
from creditline.retries import RetryPolicy, any_of
from creditline.v1 import embedder_pb2 as proto
from creditline.v1.embedder_pb2_grpc import EmbedderStub

_SECONDS_A_BATCH = 120.0
_is_transient = any_of(Unavailable, ResourceExhausted)

ONE_MINUTE = RetryPolicy(max_seconds=60.0, jitter=0.5)


class WorkEmbedder:
    """Pictures and captions of works become vectors of the release that the embedder at `target` has loaded.

    A work whose picture the embedder refuses gets a row of NaN, which no collection takes.

    Args:
        target: `host:port`, or `dns:///host:port`; calls are spread over all addresses of the host.
        retries: used for a batch while the embedder is unavailable or overloaded.

    Raises:
        Unavailable: no embedder answers at the start.
    """

    def __init__(self, target: str, retries: RetryPolicy = ONE_MINUTE) -> None:
        self._target = target
        self._retries = retries
        # Differs from process to process: loaders that failed together must not come back together.
        self._rng = random.Random()
        self._channel = grpc.insecure_channel(target, options=channel_options())
        self._stub = EmbedderStub(self._channel)
        try:
            self._encoder = self._asked_for_encoder()
        except BaseException:
            self._channel.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return int(self._encoder.dimension)

    @property
    def fingerprint(self) -> str:
        """The release and its towers."""
        return f"release {self._encoder.release}, towers {self._encoder.towers_fingerprint}"

    def __call__(self, found: Sequence[Found]) -> NDArray[np.float32]:
        """(B, width) float32, unit rows.

        Raises InvalidInput for a work without a picture, and what the embedder says.
        """
        items = [self._item(each) for each in found]
        most = max(int(self._encoder.max_batch), 1)
        # The embedder works on one batch while the next one travels.
        calls = [(items[first : first + most]) for first in range(0, len(items), most)]
        futures = [self._start(part) for part in calls]
        rows = [self._rows(future, part) for future, part in zip(futures, calls, strict=True)]
        return np.concatenate(rows)

    def _item(self, found: Found) -> proto.EmbedRequest.Item:
        work = found.work
        if work is None or not work.thumbnail:
            raise InvalidInput(
                f"row {found.row} of {found.part} has no picture to embed; give the features of its picture,"
                " or a source that holds pictures",
                field="source",
            )
        return proto.EmbedRequest.Item(image=work.thumbnail, text=work.caption)

    def _request(self, items: Sequence[proto.EmbedRequest.Item]) -> proto.EmbedRequest:
        return proto.EmbedRequest(items=items, side=proto.SIDE_WORK, release=self._encoder.release)

    def _rows(self, future: grpc.Future, items: Sequence[proto.EmbedRequest.Item]) -> NDArray[np.float32]:
        try:
            answer = self._answer(future, items)
        except InvalidInput:
            return self._one_by_one(items)
        return np.array([vector.values for vector in answer.vectors], dtype=np.float32)

    def _start(self, items: Sequence[proto.EmbedRequest.Item]) -> grpc.Future:
        return self._stub.Embed.future(self._request(items), timeout=_SECONDS_A_BATCH)

    def _answer(self, started: grpc.Future, items: Sequence[proto.EmbedRequest.Item]) -> proto.EmbedResponse:
        """The response to `started`, or to the same call made again after a transient error."""
        calls = itertools.chain([started], (self._start(items) for _ in itertools.count()))

        def attempt() -> proto.EmbedResponse:
            with translate_errors(self._target):
                return next(calls).result()

        return self._retries.call(attempt, transient=_is_transient, rng=self._rng)

    def _one_by_one(self, items: Sequence[proto.EmbedRequest.Item]) -> NDArray[np.float32]:
        """After a refusal: all but the refused."""
        rows = np.full((len(items), self.dimension), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            with suppress(InvalidInput):
                rows[row] = self._answer(self._start([item]), [item]).vectors[0].values
        return rows

    def _asked_for_encoder(self) -> proto.GetEncoderResponse:
        with translate_errors(self._target):
            return self._stub.GetEncoder(proto.GetEncoderRequest(), timeout=_SECONDS_A_BATCH)
