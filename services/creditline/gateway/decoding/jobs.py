"""One picture on its way through the decoder pool, and what it becomes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from creditline.pictures.pixels import RgbPixels
from creditline.pictures.queries import recorded_file


@dataclass(frozen=True, eq=False)
class DecodedPicture:
    """A decoded picture of a query."""

    pixels: RgbPixels
    """The pixels."""
    _file: asyncio.Future[bytes | None]

    async def file(self) -> bytes:
        """The file to keep in the record, which the decoder makes while the pixels are in use already."""
        made = await asyncio.shield(self._file)
        # A decoder that ended too early leaves the pixels, which are safe to handle here.
        return made if made is not None else await asyncio.to_thread(recorded_file, self.pixels)


@dataclass(eq=False)
class Job:
    """A picture to decode. Times are those of the event loop's clock, in seconds."""

    image: bytes
    """Content of the file."""
    caller: str
    """Whom the picture counts for."""
    cost: int
    """Number of pixels that it counts for."""
    queued_at: float
    """Time at which it was queued."""
    result: asyncio.Future[DecodedPicture] = field(init=False)
    """The decoded picture."""
    file: asyncio.Future[bytes | None] = field(init=False)
    """The file to keep; None if the decoder ended before it was made."""
    attempts: int = 0
    """Number of decoders that ended unexpectedly with it."""
    moved: bool = False
    """Whether it waits in the lane for large pictures after it was begun in the ordinary one."""

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.result, self.file = loop.create_future(), loop.create_future()

    @property
    def waited_for(self) -> bool:
        """Whether its caller still waits for the pixels."""
        return not self.result.done()

    def decoded(self, pixels: RgbPixels) -> None:
        """Give the pixels to the caller, if it still waits."""
        if self.waited_for:
            self.result.set_result(DecodedPicture(pixels, self.file))

    def keep(self, file: bytes | None) -> None:
        """Give the file to the caller."""
        if not self.file.done():
            self.file.set_result(file)

    def refuse(self, error: Exception) -> None:
        """Give an error to the caller, if it still waits."""
        if self.waited_for:
            # Without the frames that it passed: they hold this job, whose result is the error.
            self.result.set_exception(error.with_traceback(None))
