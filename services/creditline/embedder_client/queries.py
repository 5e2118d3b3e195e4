"""The embedder, seen from the gateway: a picture and its prompt become a unit vector."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import numpy as np
from numpy.typing import NDArray

from creditline.embedder_client.channel import channel_options
from creditline.embedder_client.failures import translate_errors
from creditline.errors import NotReady
from creditline.v1 import embedder_pb2 as proto
from creditline.v1.embedder_pb2_grpc import EmbedderStub


@dataclass(frozen=True, eq=False)
class EmbeddedQuery:
    """vector: (width,) float32 of length 1; unfamiliarity: None where the release cannot say."""

    vector: NDArray[np.float32]
    ood_score: float | None


class EmbedderClient:
    """One channel to all replicas of the embedder.

    Args:
        target: `host:port`, or `dns:///host:port`; calls are spread over all addresses of the host.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._channel = grpc.aio.insecure_channel(target, options=channel_options())
        self._stub = EmbedderStub(self._channel)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def embed(
        self, image: bytes, prompt: str, *, release: str, dimension: int, deadline_seconds: float
    ) -> EmbeddedQuery:
        """The query's vector and how unfamiliar the picture is.

        Raises Unavailable, DeadlineExceeded, NotReady (another release is loaded) and what the embedder says.
        """
        item = proto.EmbedRequest.Item(image=image, text=prompt)
        request = proto.EmbedRequest(items=[item], side=proto.SIDE_QUERY, release=release)
        with translate_errors(self.target):
            response = await self._stub.Embed(request, timeout=deadline_seconds)
        return self._checked(response, release, dimension)

    async def loaded_release(self, *, deadline_seconds: float) -> str:
        """Name of the release whose encoder is loaded: tells readiness. Raises Unavailable."""
        with translate_errors(self.target):
            answer = await self._stub.GetEncoder(proto.GetEncoderRequest(), timeout=deadline_seconds)
        return str(answer.release)

    def _checked(self, response: proto.EmbedResponse, release: str, dimension: int) -> EmbeddedQuery:
        if response.release != release:
            raise NotReady(
                f"the embedder at {self.target} has release {response.release!r} loaded, the gateway serves "
                f"{release!r}; start both with the same CREDITLINE_RELEASE_DIRECTORY",
                field="release",
            )
        embedded = response.vectors[0] if response.vectors else proto.EmbedResponse.Vector()
        vector = np.asarray(embedded.values, dtype=np.float32)
        if vector.shape != (dimension,) or not np.isfinite(vector).all():
            raise NotReady(
                f"the embedder at {self.target} gave a vector of shape {vector.shape} where release "
                f"{release!r} has width {dimension}; see its log",
                field="release",
            )
        known = embedded.HasField("ood_score")
        return EmbeddedQuery(vector, embedded.ood_score if known else None)
