"""Queries that are embedded where they are: private mode, whose gateway sees neither picture nor prompt."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

from creditline.api.vectors import QueryVector
from creditline.corpus.texts import check_prompt
from creditline.encoder.encoder import Side
from creditline.encoder.model import EmbedderModel, EmbedItem
from creditline.pictures.queries import query_pixels
from creditline.release import open_release, reference_release_directory
from creditline.release.parts import towers_of
from creditline.towers.spec import TowerSpec


class QueryEncoder:
    """Embeds queries as the embedder does: the same decoder, the same towers, the same encoder.

    It may be used from several threads; one query is embedded at a time.

    Args:
        model: The model of a release.
    """

    def __init__(self, model: EmbedderModel) -> None:
        self._model = model
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        release_directory: Path | None = None,
        *,
        towers: str = "",
        compiled: bool = True,
        cache: Path | None = None,
    ) -> Self:
        """Load a release and its towers.

        Args:
            release_directory: Directory of the release that the gateway serves; None: that of
                CREDITLINE_RELEASE_DIRECTORY, by default the release in the package.
            towers: Specification of the towers (`creditline.towers.spec`); empty: those that the release
                names.
            compiled: Whether the towers are compiled; the first time, that takes a minute.
            cache: Directory of compiled towers; None: the user's.

        Raises:
            NotReady: The release or the towers are missing.
            FingerprintMismatch: The release was trained on other towers, or its files were changed.
        """
        directory = release_directory or reference_release_directory()
        spec = TowerSpec.parse(towers_of(open_release(directory), towers))
        return cls(EmbedderModel.open(directory, spec, compiled=compiled, cache=cache))

    def embed(self, image: bytes, prompt: str) -> QueryVector:
        """The vector of a query, with the name and the fingerprint of the release that made it.

        Args:
            image: The picture, as a file's content.
            prompt: The prompt that the picture was made from.

        Raises:
            InvalidInput: The picture or the prompt cannot be used.
        """
        check_prompt(prompt)
        item = self._model.prepared(EmbedItem(query_pixels(image).picture(), prompt, Side.QUERY))
        with self._lock:
            (embedded,) = self._model.forward([item])
        release = self._model.release
        return QueryVector(tuple(embedded.vector.tolist()), release.name, release.encoder_fingerprint)
