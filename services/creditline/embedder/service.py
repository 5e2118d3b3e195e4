"""The Embedder service of `creditline.v1`.

It checks a request, decodes its pictures, and queues them for a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.corpus.texts import MOST_CAPTION_CHARACTERS
from creditline.devices import PROCESSOR, Device
from creditline.embedder.batcher import Batcher
from creditline.embedder.calls import answered, refuse_other_release
from creditline.embedder.metrics import CallMetrics
from creditline.encoder.encoder import Side
from creditline.encoder.model import Embedded, EmbedItem
from creditline.errors import InvalidInput
from creditline.pictures.decoding import LONGEST_SIDE_PIXELS, decode
from creditline.pictures.pixels import RgbPixels
from creditline.release import Release
from creditline.v1 import embedder_pb2 as proto
from creditline.v1.embedder_pb2_grpc import EmbedderServicer

MOST_ITEMS = 128
MOST_CHARACTERS = MOST_CAPTION_CHARACTERS
_SIDES = {proto.SIDE_QUERY: Side.QUERY, proto.SIDE_WORK: Side.WORK}


class EmbedderService(EmbedderServicer):
    """The calls Embed and GetEncoder, for one loaded release.

    Args:
        release: The loaded release.
        batcher: Computes vectors in batches.
        decoders: Executor in which pictures are decoded.
        calls: Counts calls.
        max_batch: Size of a batch, which callers can adapt to.
        prepare: Is called with each item in the thread that decoded its picture.
        device: Device of the model.
    """

    def __init__(
        self,
        release: Release,
        batcher: Batcher[EmbedItem, Embedded],
        decoders: Executor,
        calls: CallMetrics,
        *,
        max_batch: int,
        prepare: Callable[[EmbedItem], EmbedItem] = lambda item: item,
        device: Device = PROCESSOR,
    ) -> None:
        self._release = release
        self._device = device
        self._batcher = batcher
        self._decoders = decoders
        self._calls = calls
        self._max_batch = max_batch
        self._prepare = prepare

    async def Embed(  # noqa: N802
        self, request: proto.EmbedRequest, context: Any
    ) -> proto.EmbedResponse:
        """The vectors of all items, in order."""
        answer = self._embed(request, context.time_remaining())
        # A call keeps the error that ends it, and that this frame, until the next garbage collection.
        del request
        return await answered(answer, context, self._calls)

    async def GetEncoder(  # noqa: N802
        self, request: proto.GetEncoderRequest, context: Any
    ) -> proto.GetEncoderResponse:
        """The loaded release, its dimension and towers, and the size of a batch."""
        return proto.GetEncoderResponse(
            release=self._release.name,
            dimension=self._release.dimension,
            towers_fingerprint=self._release.towers_fingerprint,
            max_batch=self._max_batch,
            device=self._device.name,
        )

    async def _embed(self, request: proto.EmbedRequest, seconds: float | None) -> proto.EmbedResponse:
        loop = asyncio.get_running_loop()
        deadline = None if seconds is None else loop.time() + seconds
        side = self._checked_side(request)
        # Decoded pictures are large: those that the queue would refuse are not decoded.
        self._batcher.check_room(len(request.items))
        items = await self._decoded(request, side)
        left = None if deadline is None else deadline - loop.time()
        usable = [item for item in items if isinstance(item, EmbedItem)]
        embedded = await self._batcher.submit(usable, seconds=left)
        remaining = iter(embedded)
        return proto.EmbedResponse(
            vectors=[
                _vector(next(remaining)) if isinstance(item, EmbedItem) else _fault(item) for item in items
            ],
            release=self._release.name,
            tower_ms=max((each.tower_ms for each in embedded), default=0.0),
            head_ms=max((each.head_ms for each in embedded), default=0.0),
        )

    async def _decoded(self, request: proto.EmbedRequest, side: Side) -> list[EmbedItem | InvalidInput]:
        """The items, ready to be embedded; the fault of an item in its place if the request asks for it.

        Raises:
            InvalidInput: An item cannot be embedded, and the request does not ask for faults.
        """
        loop = asyncio.get_running_loop()
        answers = await asyncio.gather(
            *(
                loop.run_in_executor(self._decoders, self._item, request, row, side)
                for row in range(len(request.items))
            )
        )
        faults = [answer for answer in answers if isinstance(answer, InvalidInput)]
        if faults and not request.report_faults:
            raise faults[0]
        return answers

    def _item(self, request: proto.EmbedRequest, row: int, side: Side) -> EmbedItem | InvalidInput:
        decoded = _embed_item(request.items[row], row, side, request.report_faults)
        if isinstance(decoded, InvalidInput):
            return decoded
        return self._prepare(replace(decoded, halves=request.halves))

    def _checked_side(self, request: proto.EmbedRequest) -> Side:
        """The side of a request whose fields have been checked. Raises NotFound, InvalidInput."""
        refuse_other_release(request.release, self._release.name)
        if request.side not in _SIDES:
            raise InvalidInput("side is not set; send SIDE_QUERY or SIDE_WORK", field="side")
        if not 1 <= len(request.items) <= MOST_ITEMS:
            raise InvalidInput(
                f"items has {len(request.items)} entries; send 1 to {MOST_ITEMS}", field="items"
            )
        return _SIDES[request.side]


def _embed_item(
    item: proto.EmbedRequest.Item, row: int, side: Side, report_faults: bool
) -> EmbedItem | InvalidInput:
    """The item with its picture, or its fault, which does not name the row if it is reported."""
    image, text = f"items[{row}].image", f"items[{row}].text"
    picture_name, text_name = ("the picture", "the text") if report_faults else (image, text)
    if len(item.text) > MOST_CHARACTERS:
        return InvalidInput(
            f"{text_name} has {len(item.text):,} characters; at most {MOST_CHARACTERS:,} are allowed: shorten"
            " it",
            field=text,
        )
    try:
        picture = _given_picture(item, row) or decode(item.image, field=image, name=picture_name)
    except InvalidInput as error:
        return error
    return EmbedItem(picture, item.text, side)


def _given_picture(item: proto.EmbedRequest.Item, row: int) -> Image.Image | None:
    """The picture of an item that holds pixels; None for one that holds a file. Raises InvalidInput."""
    if not item.HasField("pixels"):
        return None
    field = f"items[{row}].pixels"
    if item.image:
        raise InvalidInput(f"{field} and items[{row}].image are both set; send one of them", field=field)
    return picture_of(item.pixels, field=field)


def picture_of(given: proto.Pixels, *, field: str) -> Image.Image:
    """The picture of a message of pixels. Raises InvalidInput that names `field`."""
    if max(given.width, given.height) > LONGEST_SIDE_PIXELS:
        raise InvalidInput(
            f"{field} is {given.width} × {given.height}; send at most {LONGEST_SIDE_PIXELS} pixels a side",
            field=field,
        )
    try:
        return RgbPixels(given.width, given.height, given.rgb).picture()
    except ValueError as error:
        raise InvalidInput(f"{field}: {error}; send rows of RGB from the top", field=field) from error


def _vector(embedded: Embedded) -> proto.EmbedResponse.Vector:
    return proto.EmbedResponse.Vector(
        values=embedded.vector.tolist(),
        ood_score=embedded.ood_score,
        prompt_agreement=embedded.prompt_agreement,
        picture_alone=_values(embedded.picture_alone),
        prompt_alone=_values(embedded.prompt_alone),
    )


def _values(vector: NDArray[np.float32] | None) -> list[float] | None:
    return None if vector is None else vector.tolist()


def _fault(error: InvalidInput) -> proto.EmbedResponse.Vector:
    return proto.EmbedResponse.Vector(fault=error.message)
