"""What gateway and decoder send each other: frames of a kind, a length and bytes. Nothing is unpickled."""

from __future__ import annotations

import enum
import socket
import struct
from dataclasses import dataclass

from creditline.pictures.pixels import RgbPixels

HEADER_BYTES = 5
"""Length of a frame's header."""
_HEADER = struct.Struct("!BI")
_SIZE = struct.Struct("!HH")


class Kind(enum.IntEnum):
    """Kinds of frames."""

    IMAGE = 1
    """To the decoder: content of a picture file."""
    PIXELS = 2
    """Width and height, two bytes each, and the pixels in RGB."""
    RECORD = 3
    """The same pixels as a file to keep; follows PIXELS."""
    FAULT = 4
    """Why the picture cannot be decoded, UTF-8."""
    OUT_OF_MEMORY = 5
    """The picture needs more memory than the decoder may use; empty."""


@dataclass(frozen=True)
class Frame:
    """One frame."""

    kind: Kind
    """What it holds."""
    content: bytes
    """The bytes after the header."""

    @property
    def header(self) -> bytes:
        """The bytes before the content."""
        return _HEADER.pack(self.kind, len(self.content))


def read_header(header: bytes) -> tuple[Kind, int]:
    """Kind and content's length of a frame. Raises ValueError for a kind that does not exist."""
    kind, length = _HEADER.unpack(header)
    return Kind(kind), length


def pixels_frame(pixels: RgbPixels) -> Frame:
    """The frame of decoded pixels."""
    return Frame(Kind.PIXELS, _SIZE.pack(pixels.width, pixels.height) + pixels.rgb)


def read_pixels(content: bytes) -> RgbPixels:
    """The pixels of a frame of kind PIXELS. Raises ValueError, struct.error when it is malformed."""
    width, height = _SIZE.unpack_from(content)
    return RgbPixels(width, height, content[_SIZE.size :])


def send(connection: socket.socket, frame: Frame) -> None:
    """Send a frame over a blocking connection."""
    connection.sendall(frame.header)
    connection.sendall(frame.content)


def receive(connection: socket.socket) -> Frame | None:
    """The next frame of a blocking connection; None at its end."""
    header = _receive_exactly(connection, HEADER_BYTES)
    if header is None:
        return None
    kind, length = read_header(header)
    content = _receive_exactly(connection, length)
    return None if content is None else Frame(kind, content)


def _receive_exactly(connection: socket.socket, count: int) -> bytes | None:
    received = bytearray(count)
    view, got = memoryview(received), 0
    while got < count:
        more = connection.recv_into(view[got:])
        if not more:
            return None
        got += more
    return bytes(received)
