"""The ingest's client of the embedder: pictures and captions of works become vectors."""

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

_BATCH_SECONDS = 120.0
_is_transient = any_of(Unavailable, ResourceExhausted)

ONE_MINUTE = RetryPolicy(max_seconds=60.0, jitter=0.5)
"""Retries for one minute, with jitter."""


class WorkEmbedder:
    """Embeds pictures and captions of works with the release that the embedder has loaded.

    A work whose picture the embedder refuses gets a row of NaN, which no collection accepts.

    Args:
        target: `host:port`, or `dns:///host:port`; calls are spread over all addresses of the host.
        retries: Policy for a batch while the embedder is unavailable or overloaded.

    Raises:
        Unavailable: No embedder answers at the start.
    """

    def __init__(self, target: str, retries: RetryPolicy = ONE_MINUTE) -> None:
        self._target = target
        self._retries = retries
        # Differs from process to process, so that loaders that failed together do not retry together.
        self._rng = random.Random()
        self._channel = grpc.insecure_channel(target, options=channel_options())
        self._stub = EmbedderStub(self._channel)
        try:
            self._encoder = self._loaded_encoder()
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
        """Dimension of the vectors."""
        return int(self._encoder.dimension)

    @property
    def fingerprint(self) -> str:
        """Name of the release and fingerprint of its towers, as one string."""
        return f"release {self._encoder.release}, towers {self._encoder.towers_fingerprint}"

    def __call__(self, found: Sequence[Found]) -> NDArray[np.float32]:
        """Embed works.

        Args:
            found: Rows of a source, each with a work that holds a thumbnail.

        Returns:
            (B, D) float32, L2-normalised rows; NaN where the embedder refuses the picture.

        Raises:
            InvalidInput: A row has no picture.
            NotReady: The embedder has another release loaded by now.
            ResourceExhausted: The embedder is overloaded for longer than the retries last.
            Unavailable: The embedder does not answer for longer than the retries last.
            DeadlineExceeded: A batch took longer than two minutes.
        """
        items = [self._item(each) for each in found]
        batch_size = max(int(self._encoder.max_batch), 1)
        # All calls are started first, so that the embedder computes one batch while the next one is sent.
        batches = [(items[first : first + batch_size]) for first in range(0, len(items), batch_size)]
        futures = [self._start(batch) for batch in batches]
        rows = [self._rows(future, batch) for future, batch in zip(futures, batches, strict=True)]
        return np.concatenate(rows)

    def _item(self, found: Found) -> proto.EmbedRequest.Item:
        work = found.work
        if work is None or not work.thumbnail:
            raise InvalidInput(
                f"row {found.row} of {found.part} has no picture to embed; provide the features of its"
                " picture, or a source that holds pictures",
                field="source",
            )
        return proto.EmbedRequest.Item(image=work.thumbnail, text=work.caption)

    def _request(self, items: Sequence[proto.EmbedRequest.Item]) -> proto.EmbedRequest:
        return proto.EmbedRequest(items=items, side=proto.SIDE_WORK, release=self._encoder.release)

    def _rows(self, future: grpc.Future, items: Sequence[proto.EmbedRequest.Item]) -> NDArray[np.float32]:
        try:
            response = self._response(future, items)
        except InvalidInput:
            return self._rows_one_by_one(items)
        return np.array([vector.values for vector in response.vectors], dtype=np.float32)

    def _start(self, items: Sequence[proto.EmbedRequest.Item]) -> grpc.Future:
        return self._stub.Embed.future(self._request(items), timeout=_BATCH_SECONDS)

    def _response(
        self, started: grpc.Future, items: Sequence[proto.EmbedRequest.Item]
    ) -> proto.EmbedResponse:
        """The response to the call `started`, or to one of its retries after a transient error."""
        calls = itertools.chain([started], (self._start(items) for _ in itertools.count()))

        def attempt() -> proto.EmbedResponse:
            with translate_errors(self._target):
                return next(calls).result()

        return self._retries.call(attempt, transient=_is_transient, rng=self._rng)

    def _rows_one_by_one(self, items: Sequence[proto.EmbedRequest.Item]) -> NDArray[np.float32]:
        """Rows of a refused batch: each work is embedded alone, and refused ones stay NaN."""
        rows = np.full((len(items), self.dimension), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            with suppress(InvalidInput):
                rows[row] = self._response(self._start([item]), [item]).vectors[0].values
        return rows

    def _loaded_encoder(self) -> proto.GetEncoderResponse:
        with translate_errors(self._target):
            return self._stub.GetEncoder(proto.GetEncoderRequest(), timeout=_BATCH_SECONDS)
