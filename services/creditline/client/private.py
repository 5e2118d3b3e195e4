"""Private mode: queries are embedded in the caller's process, and only their vectors are sent."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Protocol

from creditline.api.vectors import QueryVector
from creditline.client.calls import AttributionQuery, Picture, attribute_message, file_bytes
from creditline.errors import NotReady
from creditline.v1.attribution_pb2 import AttributeRequest

# Imported by name, and only for the first private query: the client itself needs no torch.
_ENCODER_MODULE = "creditline.encoder.queries"


class EmbedsQueries(Protocol):
    """What embeds a query: `creditline.encoder.queries.QueryEncoder`."""

    def embed(self, image: bytes, prompt: str) -> QueryVector:
        """The vector of a picture, as a file's content, and its prompt."""
        ...


class PrivateMode:
    """Embeds queries with an encoder that is opened for the first one.

    Args:
        encoder: The encoder, or the directory of the release to open; None: that of
            CREDITLINE_RELEASE_DIRECTORY, by default the release in the package.
    """

    def __init__(self, encoder: EmbedsQueries | Path | None) -> None:
        self._directory = encoder if isinstance(encoder, Path) else None
        self._encoder = None if isinstance(encoder, Path) else encoder
        self._lock = threading.Lock()

    def message(self, query: AttributionQuery) -> AttributeRequest:
        """The request of a query, with its vector if it is private. Blocks; errors are those of `embed`."""
        vector = self.embed(query.image, query.prompt) if query.private else None
        return attribute_message(query, vector)

    def embed(self, image: Picture, prompt: str) -> QueryVector:
        """The vector of a query. Blocks, the first time for some seconds.

        Raises:
            NotReady: Packages, the release or its towers are missing.
            FingerprintMismatch: The release was trained on other towers, or its files were changed.
            InvalidInput: The picture or the prompt cannot be used.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = _opened(self._directory)
        return self._encoder.embed(file_bytes(image), prompt)


def _opened(directory: Path | None) -> EmbedsQueries:
    try:
        encoder: EmbedsQueries = importlib.import_module(_ENCODER_MODULE).QueryEncoder.open(directory)
    except ModuleNotFoundError as error:
        raise NotReady(
            f"private mode runs a release's encoder, for which the package {error.name} is missing; install"
            " what it needs with `pip install creditline[encoder]`",
            field="private",
        ) from error
    return encoder
