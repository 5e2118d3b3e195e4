"""The interface of all attribution methods: scores of works for queries, with the cost of computing them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.losses import Examples, encoded_examples
from creditline.generator.pipeline import Generator


@dataclass(frozen=True)
class Gallery:
    """Pictures with their texts, in every form that a method may need; row i is the same picture in all.

    Raises:
        InvalidInput: The numbers of examples, pictures and prompts differ.
    """

    examples: Examples
    """Latents and text embeddings, as the UNet receives them."""
    pictures: tuple[Image.Image, ...]
    """The pictures before encoding."""
    prompts: tuple[str, ...]
    """Prompts of queries, or captions of works."""
    fingerprint: str
    """Fingerprint of the content; an artifact made from one gallery is refused for any other."""

    def __post_init__(self) -> None:
        counts = (len(self.examples), len(self.pictures), len(self.prompts))
        if len(set(counts)) > 1:
            raise InvalidInput(
                f"a gallery got {counts[0]} examples, {counts[1]} pictures and {counts[2]} prompts;"
                " give the same number of each"
            )

    def __len__(self) -> int:
        return len(self.examples)

    def rows(self, rows: Sequence[int]) -> Gallery:
        """A gallery of the given rows, in the given order."""
        return Gallery(
            self.examples.rows(rows),
            tuple(self.pictures[row] for row in rows),
            tuple(self.prompts[row] for row in rows),
            f"{self.fingerprint}[{','.join(str(row) for row in rows)}]",
        )


def works_gallery(generator: Generator, works: Corpus) -> Gallery:
    """Gallery of a corpus's works, encoded by the generator that was trained on them."""
    pictures = tuple(work.picture() for work in works)
    captions = tuple(work.caption for work in works)
    examples = encoded_examples(generator, works.ids, pictures, captions)
    return Gallery(examples, pictures, captions, works.fingerprint)


class Attributor(ABC):
    """An attribution method. Larger scores mean more influence; the scale depends on the method."""

    name: str
    """Name of the method in tables and in the registry."""
    passes_per_query: float = 0.0
    """UNet forward passes that one query costs: those of the query and those of the works."""
    bytes_per_work: float = 0.0
    """Bytes stored for each work between queries."""

    @abstractmethod
    def prepare(self, works: Gallery, directory: Path) -> None:
        """Compute what is the same for all queries, or open it from disk. An interrupted run resumes.

        Args:
            works: The works to score.
            directory: Directory of the method's artifacts.
        """

    @abstractmethod
    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        """Score every work for every query; the scores of a query do not depend on the other queries.

        Returns:
            Scores: (Q, N) float64.

        Raises:
            NotReady: `prepare` was not called.
        """

    def scores_among(self, queries: Gallery, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Score only some works for each query.

        A method whose cost grows with the number of works evaluates only those inside the mask.

        Args:
            queries: The queries, Q of them.
            mask: (Q, N) bool, True for each work to score.

        Returns:
            Scores: (Q, N) float64, 0 for works outside the mask.
        """
        return np.where(mask, self.scores(queries), 0.0)

    def every_score(self, queries: Gallery) -> dict[str, NDArray[np.float64]]:
        """All scores that one computation gives, by name, including the method's own under its name.

        Returns:
            Scores by name, each (Q, N) float64.
        """
        return {self.name: self.scores(queries)}


@dataclass(frozen=True)
class Cost:
    """Time, passes and storage that a method needed."""

    preparation_seconds: float
    """Seconds spent once for a generator and corpus; about 0 when the artifacts existed already."""
    seconds_per_query: float
    """Seconds of scoring per query, without preparation."""
    passes_per_query: float
    """UNet forward passes per query; a backward pass counts as two."""
    bytes_per_work: float
    """Bytes stored for each work between queries."""


@dataclass(frozen=True)
class AttributionResult:
    """Scores of a method with their cost."""

    values: NDArray[np.float64]
    """Scores: (Q, N) float64."""
    cost: Cost
    """Cost of the whole computation."""


def attribute(attributor: Attributor, works: Gallery, queries: Gallery, directory: Path) -> AttributionResult:
    """Run a method and measure its cost.

    Args:
        attributor: The method.
        works: The works to score, N of them.
        queries: The queries, Q of them.
        directory: Directory of the method's artifacts.

    Returns:
        The method's scores (Q, N) and their cost.

    Raises:
        InvalidInput: A score is NaN or infinite, or the scores have another shape.
    """
    return attribute_every(attributor, works, queries, directory)[attributor.name]


def attribute_among(
    attributor: Attributor, works: Gallery, queries: Gallery, directory: Path, mask: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Run a method for some works of each query only.

    Args:
        attributor: The method.
        works: All works, N of them.
        queries: The queries, Q of them.
        directory: Directory of the method's artifacts.
        mask: (Q, N) bool, True for each work to score.

    Returns:
        Scores: (Q, N) float64, 0 for works outside the mask.

    Raises:
        InvalidInput: A score is NaN or infinite, or the scores have another shape.
    """
    attributor.prepare(works, directory)
    values = np.asarray(attributor.scores_among(queries, mask), dtype=np.float64)
    _refuse_invalid_scores(values, attributor.name, works, queries)
    return values


def attribute_every(
    attributor: Attributor, works: Gallery, queries: Gallery, directory: Path
) -> dict[str, AttributionResult]:
    """Run a method as `attribute` does, and return all of its scores by name.

    Each entry carries the cost of the whole computation.
    """
    started = time.perf_counter()
    attributor.prepare(works, directory)
    prepared = time.perf_counter()
    by_name = attributor.every_score(queries)
    ended = time.perf_counter()
    cost = Cost(
        preparation_seconds=prepared - started,
        seconds_per_query=(ended - prepared) / len(queries),
        passes_per_query=attributor.passes_per_query,
        bytes_per_work=attributor.bytes_per_work,
    )
    attributed = {}
    for name, values in by_name.items():
        values = np.asarray(values, dtype=np.float64)
        _refuse_invalid_scores(values, name, works, queries)
        attributed[name] = AttributionResult(values, cost)
    return attributed


def _refuse_invalid_scores(values: NDArray[np.float64], name: str, works: Gallery, queries: Gallery) -> None:
    if values.shape != (len(queries), len(works)):
        raise InvalidInput(
            f"{name} gave scores of shape {values.shape}, not {(len(queries), len(works))};"
            " a method must return one row per query and one column per work"
        )
    non_finite = np.argwhere(~np.isfinite(values))
    if len(non_finite):
        query, work = non_finite[0]
        raise InvalidInput(
            f"{name} scored work {works.examples.ids[work]} for query {queries.examples.ids[query]} as"
            f" {values[query, work]}; check that picture, and check the generator's weights for NaN"
        )
