"""The gateway's client of the embedder: a picture and its prompt become a unit vector."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.credentials.channels import FollowingStub
from creditline.credentials.tls_files import TlsFiles
from creditline.embedder_client.channel import channel_options
from creditline.embedder_client.failures import translate_errors
from creditline.embedder_client.pixels import pixels_message
from creditline.errors import NotReady
from creditline.pictures.pixels import RgbPixels
from creditline.v1 import embedder_pb2 as proto
from creditline.v1.embedder_pb2_grpc import EmbedderStub


@dataclass(frozen=True, eq=False)
class EmbeddedQuery:
    """A query as the encoder sees it."""

    vector: NDArray[np.float32]
    """(D,) float32, L2-normalised."""
    ood_score: float | None
    """Out-of-distribution score of the picture; None where the release has no detector."""
    prompt_agreement: float | None = None
    """Agreement of picture and prompt, 0 to 1; None where the release cannot tell."""
    picture_alone: NDArray[np.float32] | None = None
    """(D,) float32, vector of the picture alone; None where the release cannot tell."""
    prompt_alone: NDArray[np.float32] | None = None
    """(D,) float32, vector of the prompt alone; None where the release cannot tell."""


class EmbedderClient:
    """Asyncio client of all replicas of the embedder, over one channel.

    Args:
        target: `host:port`, or `dns:///host:port`; calls are spread over all addresses of the host.
        tls: Files of this end, followed while they change; None: no TLS.

    Raises:
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """

    def __init__(self, target: str, tls: TlsFiles | None = None) -> None:
        self.target = target
        self._embedder = FollowingStub(EmbedderStub, target, tls, channel_options())

    async def close(self) -> None:
        """Close the channel."""
        await self._embedder.close()

    async def embed(
        self, picture: RgbPixels, prompt: str, *, release: str, dimension: int, deadline_seconds: float
    ) -> EmbeddedQuery:
        """Embed a query.

        Args:
            picture: The decoded picture.
            prompt: The prompt that the picture was made from.
            release: Name of the release whose encoder is required.
            dimension: Dimension of that release's vectors.
            deadline_seconds: Time that the call may take.

        Returns:
            The query's vector, those of picture and prompt alone, out-of-distribution score, and agreement of
            picture and prompt.

        Raises:
            NotReady: The embedder has another release loaded, or returned a vector that is not of `release`.
            InvalidInput: The embedder refused the picture or the prompt.
            ResourceExhausted: The embedder is overloaded.
            Unavailable: The embedder does not answer, or failed.
            DeadlineExceeded: The embedder did not answer in time.
        """
        item = proto.EmbedRequest.Item(pixels=pixels_message(picture), text=prompt)
        request = proto.EmbedRequest(items=[item], side=proto.SIDE_QUERY, release=release, halves=True)
        with translate_errors(self.target):
            response = await self._embedder.stub.Embed(request, timeout=deadline_seconds)
        return self._checked_query(response, release, dimension)

    async def loaded_release(self, *, deadline_seconds: float) -> str:
        """Name of the release whose encoder is loaded, for readiness checks.

        Raises:
            Unavailable: The embedder does not answer, or failed.
            DeadlineExceeded: The embedder did not answer in time.
        """
        with translate_errors(self.target):
            answer = await self._embedder.stub.GetEncoder(proto.GetEncoderRequest(), timeout=deadline_seconds)
        return str(answer.release)

    def _checked_query(self, response: proto.EmbedResponse, release: str, dimension: int) -> EmbeddedQuery:
        if response.release != release:
            raise NotReady(
                f"the embedder at {self.target} has release {response.release!r} loaded, the gateway serves "
                f"{release!r}; start both with the same CREDITLINE_RELEASE_DIRECTORY",
                field="release",
            )
        embedded = response.vectors[0] if response.vectors else proto.EmbedResponse.Vector()
        return EmbeddedQuery(
            self._checked_vector(embedded.values, release, dimension),
            embedded.ood_score if embedded.HasField("ood_score") else None,
            embedded.prompt_agreement if embedded.HasField("prompt_agreement") else None,
            *(
                self._checked_vector(values, release, dimension) if values else None
                for values in (embedded.picture_alone, embedded.prompt_alone)
            ),
        )

    def _checked_vector(self, values: Sequence[float], release: str, dimension: int) -> NDArray[np.float32]:
        vector = np.asarray(values, dtype=np.float32)
        if vector.shape != (dimension,) or not np.isfinite(vector).all():
            raise NotReady(
                f"the embedder at {self.target} returned a vector of shape {vector.shape} where "
                f"release {release!r} has dimension {dimension}, or one that is not finite; see its log",
                field="release",
            )
        return vector


def embed_query(
    target: str,
    picture: RgbPixels,
    prompt: str,
    *,
    release: str,
    dimension: int,
    deadline_seconds: float,
    tls: TlsFiles | None = None,
) -> EmbeddedQuery:
    """Embed one query outside an event loop; arguments and errors are those of `EmbedderClient.embed`.

    Args:
        target: `host:port` of the embedder.
        picture: The decoded picture.
        prompt: The prompt that the picture was made from.
        release: Name of the release whose encoder is required.
        dimension: Dimension of that release's vectors.
        deadline_seconds: Time that the call may take.
        tls: Files of this end; None: no TLS.
    """

    async def embed() -> EmbeddedQuery:
        client = EmbedderClient(target, tls)
        try:
            return await client.embed(
                picture, prompt, release=release, dimension=dimension, deadline_seconds=deadline_seconds
            )
        finally:
            await client.close()

    return asyncio.run(embed())
