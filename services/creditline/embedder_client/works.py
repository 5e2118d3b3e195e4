"""The ingest's client of the embedder: pictures and captions of works become vectors.

Small pictures are sent as they are, and others are shrunk before, by the decoder that the embedder uses
too: the vector is the same. A few calls are in flight at once, which keeps the embedder busy while pictures
are prepared and sent, and its queue short.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc
import numpy as np
from numpy.typing import NDArray

from creditline.corpus.sources import Found
from creditline.corpus.works import Work
from creditline.credentials.channels import open_channel
from creditline.credentials.tls_files import TlsFiles
from creditline.embedder_client.channel import channel_options
from creditline.embedder_client.failures import translate_errors
from creditline.embedder_client.pixels import pixels_message
from creditline.errors import DeadlineExceeded, InvalidInput, ResourceExhausted, Unavailable
from creditline.pictures.decoding import decode, is_small
from creditline.pictures.pixels import RgbPixels
from creditline.retries import RetryPolicy, any_of
from creditline.v1 import embedder_pb2 as proto
from creditline.v1.embedder_pb2_grpc import EmbedderStub

_BATCH_SECONDS = 120.0
# The embedder computes one batch, has one decoded, and receives one.
_CALLS_IN_FLIGHT = 3
_MAX_BATCH_BYTES = 16 << 20
_MAX_BATCH_ITEMS = 128
# Larger files are decoded here even if their pictures are small.
_MAX_UNCHANGED_BYTES = 1 << 20
_PREPARERS = 2
# Pictures that are prepared before they are sent, which bounds memory.
_PREPARED_AHEAD = 32
_is_transient = any_of(Unavailable, ResourceExhausted, DeadlineExceeded)

FIVE_MINUTES = RetryPolicy(max_seconds=300.0, jitter=0.5)
"""Retries for five minutes, with jitter, as for writes to Qdrant."""


class WorkEmbedder:
    """Embeds pictures and captions of works with the release that the embedder has loaded.

    Args:
        target: `host:port`, or `dns:///host:port`; calls are spread over all addresses of the host.
        retries: Policy for a batch while the embedder is unavailable or overloaded.
        tls: Files of this end, as they are at the start; None: no TLS.

    Raises:
        Unavailable: No embedder answers at the start.
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """

    def __init__(self, target: str, retries: RetryPolicy = FIVE_MINUTES, tls: TlsFiles | None = None) -> None:
        self._target = target
        self._retries = retries
        # Differs from process to process, so that loaders that failed together do not retry together.
        self._rng = random.Random()
        self._preparers = ThreadPoolExecutor(_PREPARERS, "prepare")
        self._channel = open_channel(target, tls, channel_options())
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
        self._preparers.shutdown(cancel_futures=True)
        self._channel.close()

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        return int(self._encoder.dimension)

    @property
    def release(self) -> str:
        """Name of the release that the embedder has loaded."""
        return str(self._encoder.release)

    @property
    def fingerprint(self) -> str:
        """Name of the release and fingerprint of its towers, as one string."""
        return f"release {self._encoder.release}, towers {self._encoder.towers_fingerprint}"

    @property
    def decodes_pictures(self) -> bool:
        """Whether `embed` decodes pictures and reports their faults: it does."""
        return True

    def dimension_of(self, found: Found) -> int:
        """Dimension of the vector of a row's picture. Raises InvalidInput if it has none."""
        _work_with_picture(found)
        return self.dimension

    def embed(self, found: Sequence[Found]) -> list[NDArray[np.float32] | str]:
        """Embed works.

        Args:
            found: Rows of a source, each with a work that holds a thumbnail.

        Returns:
            For each row the vector, (D,) float32 of length 1, or the reason why it cannot be embedded.

        Raises:
            InvalidInput: A row has no picture.
            NotReady: The embedder has another release loaded by now.
            ResourceExhausted: The embedder is overloaded for longer than the retries last.
            Unavailable: The embedder does not answer for longer than the retries last.
            DeadlineExceeded: Batches took longer than two minutes for longer than the retries last.
        """
        answers: list[NDArray[np.float32] | str] = []
        in_flight: deque[_Call] = deque()
        try:
            for prepared in _batches(self._prepared(found), min(self._encoder.max_batch, _MAX_BATCH_ITEMS)):
                if len(in_flight) >= _CALLS_IN_FLIGHT:
                    answers += in_flight.popleft().answers()
                in_flight.append(self._start(prepared))
            while in_flight:
                answers += in_flight.popleft().answers()
        finally:
            for call in in_flight:
                call.cancel()
        return answers

    def _prepared(self, found: Sequence[Found]) -> Iterator[_Prepared]:
        """The items to send, in order, prepared in threads."""
        works = map(_work_with_picture, found)
        ahead: deque[Future[_Prepared]] = deque()
        for work in works:
            ahead.append(self._preparers.submit(_prepare, work))
            if len(ahead) >= _PREPARED_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _start(self, prepared: Sequence[_Prepared]) -> _Call:
        items = [each for each in prepared if not isinstance(each, str)]
        request = proto.EmbedRequest(
            items=items, side=proto.SIDE_WORK, release=self._encoder.release, report_faults=True
        )
        return _Call(self._stub, self._target, request, prepared, self._retries, self._rng)

    def _loaded_encoder(self) -> proto.GetEncoderResponse:
        with translate_errors(self._target):
            return self._stub.GetEncoder(proto.GetEncoderRequest(), timeout=_BATCH_SECONDS)


# An item to send, or the reason why the row's picture cannot be decoded.
_Prepared = proto.EmbedRequest.Item | str


@dataclass(eq=False)
class _Call:
    """The call for one batch, which starts when the object is created."""

    stub: EmbedderStub
    """Stub of the embedder."""
    target: str
    """Address of the embedder, for errors."""
    request: proto.EmbedRequest
    """The request."""
    prepared: Sequence[_Prepared]
    """Rows of the batch, of which the request holds the items."""
    retries: RetryPolicy
    """Policy while the embedder is unavailable, overloaded or too slow."""
    rng: random.Random
    """Random generator of the retry jitter."""
    _started: grpc.Future | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.request.items:
            self._started = self._start()

    def answers(self) -> list[NDArray[np.float32] | str]:
        """Wait for the answers for all rows of the batch. Raises as `WorkEmbedder`."""
        vectors: Iterator[proto.EmbedResponse.Vector] = iter(())
        if self.request.items:
            vectors = iter(self.retries.call(self._attempt, transient=_is_transient, rng=self.rng).vectors)
        return [each if isinstance(each, str) else _answer(next(vectors)) for each in self.prepared]

    def cancel(self) -> None:
        """Cancel the call if it is in flight."""
        if self._started is not None:
            self._started.cancel()

    def _start(self) -> grpc.Future:
        return self.stub.Embed.future(self.request, timeout=_BATCH_SECONDS)

    def _attempt(self) -> proto.EmbedResponse:
        started, self._started = self._started or self._start(), None
        with translate_errors(self.target):
            response: proto.EmbedResponse = started.result()
        return response


def _answer(vector: proto.EmbedResponse.Vector) -> NDArray[np.float32] | str:
    return vector.fault or np.array(vector.values, dtype=np.float32)


def _work_with_picture(found: Found) -> Work:
    if found.work is None or not found.work.thumbnail:
        raise InvalidInput(
            f"row {found.row} of {found.part} has no picture to embed; provide the features of its"
            " picture, or a source that holds pictures",
            field="source",
        )
    return found.work


def _prepare(work: Work) -> _Prepared:
    if len(work.thumbnail) <= _MAX_UNCHANGED_BYTES and is_small(work.thumbnail):
        return proto.EmbedRequest.Item(image=work.thumbnail, text=work.caption)
    try:
        picture = decode(work.thumbnail, field="thumbnail", name="the picture")
    except InvalidInput as error:
        return error.message
    return proto.EmbedRequest.Item(pixels=pixels_message(RgbPixels.of(picture)), text=work.caption)


def _batches(prepared: Iterable[_Prepared], most_items: int) -> Iterator[list[_Prepared]]:
    """Consecutive rows, at most `most_items` and `_MAX_BATCH_BYTES` in a batch."""
    batch: list[_Prepared] = []
    size = 0
    for each in prepared:
        more = len(each) if isinstance(each, str) else each.ByteSize()
        if batch and (len(batch) >= most_items or size + more > _MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += more
    if batch:
        yield batch
