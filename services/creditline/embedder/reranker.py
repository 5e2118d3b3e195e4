"""Re-ranking in the embedder's process: the release's generator with the kernel over its gradient rows.

Only an embedder that re-ranks imports this module, which loads diffusers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from creditline.attribution.reranking.kernel import GradientKernel
from creditline.devices import Device
from creditline.embedder.settings import EmbedderSettings
from creditline.errors import FingerprintMismatch
from creditline.generator.adapters.specification import AdapterSpec
from creditline.generator.assembly import assemble_reference
from creditline.generator.migration import goes_by
from creditline.generator.pipeline import Generator
from creditline.release import RERANKING_ROWS, Release
from creditline.release.parts import (
    default_generator_directory,
    generator_adapters,
    generator_place,
    listed_adapters,
)


@dataclass(frozen=True, eq=False)
class RerankItem:
    """A query with the works to score."""

    picture: Image.Image
    """The picture."""
    prompt: str
    """The prompt that it was made from."""
    work_ids: tuple[str, ...]
    """Ids of the works."""


@dataclass(frozen=True)
class Reranked:
    """Scores of works for a query."""

    scores: dict[str, float]
    """Scores of the works that have a row, by id."""
    gradient_ms: float
    """Time of the query's gradient, in milliseconds."""
    kernel_ms: float
    """Time of the kernel, in milliseconds."""


class Reranker:
    """Scores works for one query after another: `with Reranker.open(...) as reranker`.

    Args:
        generator: The release's generator.
        kernel: The kernel of the release.
        rows: SHA-256 of the file of rows.
    """

    def __init__(self, generator: Generator, kernel: GradientKernel, rows: str) -> None:
        self._generator = generator
        self._kernel = kernel
        self.rows = rows

    @classmethod
    def open(cls, settings: EmbedderSettings, release: Release, device: Device) -> Self:
        """Load generator and rows of a release.

        Raises:
            NotReady: The release has no gradient rows, or its generator is not there.
            FingerprintMismatch: The generator or the rows are not those of the release.
            InvalidInput: The file of rows is truncated.
        """
        release.require_reranking()
        generator = Generator.open(
            _place(settings, release), adapters=_adapters(settings, release), device=device.name
        )
        _refuse_other(generator, release)
        kernel = GradientKernel.open(
            release.directory / RERANKING_ROWS,
            generator,
            release=release.name,
            corpus=release.corpus_fingerprint,
        )
        return cls(generator, kernel, release.files[RERANKING_ROWS])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._generator.__exit__(kind, error, trace)

    def score(self, item: RerankItem) -> Reranked:
        """Score the works of an item.

        Raises:
            InvalidInput: The query's gradient is zero or not finite.
        """
        started = time.perf_counter()
        gradient = self._kernel.gradient(item.picture, item.prompt)
        taken = time.perf_counter()
        scores = self._kernel.scores(gradient, item.work_ids)
        ended = time.perf_counter()
        return Reranked(scores, (taken - started) * 1e3, (ended - taken) * 1e3)


def _place(settings: EmbedderSettings, release: Release) -> Path:
    chosen = generator_place(release, settings.generator_directory)
    return chosen or assemble_reference(default_generator_directory())


def _adapters(settings: EmbedderSettings, release: Release) -> list[AdapterSpec]:
    listed = listed_adapters(settings.generator_adapters)
    stated = generator_adapters(release, settings.generator_directory, listed)
    return [AdapterSpec.parse(adapter) for adapter in stated]


def _refuse_other(generator: Generator, release: Release) -> None:
    if not goes_by(generator, release.generator_fingerprint):
        raise FingerprintMismatch(
            f"release {release.name!r} was made for generator {release.generator_fingerprint}, but the one at"
            f" {generator.directory} is {generator.fingerprint}; correct CREDITLINE_GENERATOR_DIRECTORY",
            field="generator",
        )
