"""Decoded pixels in the embedder's messages."""

from __future__ import annotations

from creditline.pictures.pixels import RgbPixels
from creditline.v1 import embedder_pb2 as proto


def pixels_message(pixels: RgbPixels) -> proto.Pixels:
    """The message of decoded pixels."""
    return proto.Pixels(width=pixels.width, height=pixels.height, rgb=pixels.rgb)
