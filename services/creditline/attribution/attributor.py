"""One interface for every method: an attributor gives scores (queries × works) and says what they cost."""

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
    """Pictures with their texts in every form that a method may ask for; row i is the same one in all.

    fingerprint: of what is in it; artifacts made from these works are refused for others.
    """

    examples: Examples
    pictures: tuple[Image.Image, ...]
    prompts: tuple[str, ...]
    fingerprint: str

    def __post_init__(self) -> None:
        counts = (len(self.examples), len(self.pictures), len(self.prompts))
        if len(set(counts)) > 1:
            raise InvalidInput(f"{counts[0]} examples, {counts[1]} pictures and {counts[2]} prompts given")

    def __len__(self) -> int:
        return len(self.examples)

    def rows(self, rows: Sequence[int]) -> Gallery:
        """The named rows, in that order."""
        return Gallery(
            self.examples.rows(rows),
            tuple(self.pictures[row] for row in rows),
            tuple(self.prompts[row] for row in rows),
            f"{self.fingerprint}[{','.join(str(row) for row in rows)}]",
        )


def works_gallery(generator: Generator, works: Corpus) -> Gallery:
    """The works of a corpus, encoded by the generator that was trained on them."""
    pictures = tuple(work.picture() for work in works)
    captions = tuple(work.caption for work in works)
    examples = encoded_examples(generator, works.ids, pictures, captions)
    return Gallery(examples, pictures, captions, works.fingerprint)


class Attributor(ABC):
    """A method. Larger scores mean more influence; their scale is the method's own.

    name: as in tables; passes_per_query: UNet forwards that one query costs, its own and the works';
    bytes_per_work: what is kept of each work between queries.
    """

    name: str
    passes_per_query: float = 0.0
    bytes_per_work: float = 0.0

    @abstractmethod
    def prepare(self, works: Gallery, directory: Path) -> None:
        """Compute what is the same for all queries, or open what lies in `directory`; resumes."""

    @abstractmethod
    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        """(Q, N): the score of every work for every query; each query's do not depend on the others."""

    def scores_among(self, queries: Gallery, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(Q, N): scores of the wanted works of each query, 0 for all others.

        A method that looks at each work for each query looks at the wanted ones only. wanted: (Q, N).
        """
        return np.where(wanted, self.scores(queries), 0.0)

    def every_score(self, queries: Gallery) -> dict[str, NDArray[np.float64]]:
        """By name, where one computation gives more scores than the method's own; that is among them."""
        return {self.name: self.scores(queries)}


@dataclass(frozen=True)
class Cost:
    """preparation_seconds: once for a generator and corpus (about 0 where the artifact was there)."""

    preparation_seconds: float
    seconds_per_query: float
    passes_per_query: float
    bytes_per_work: float


@dataclass(frozen=True)
class Attributed:
    """values: (Q, N) float64."""

    values: NDArray[np.float64]
    cost: Cost


def attribute(attributor: Attributor, works: Gallery, queries: Gallery, directory: Path) -> Attributed:
    """Run a method and measure its cost. Raises InvalidInput when a score is no number."""
    return attribute_every(attributor, works, queries, directory)[attributor.name]


def attribute_among(
    attributor: Attributor, works: Gallery, queries: Gallery, directory: Path, wanted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Scores of the wanted works of each query, 0 for all others: (Q, N). Raises InvalidInput as above."""
    attributor.prepare(works, directory)
    values = np.asarray(attributor.scores_among(queries, wanted), dtype=np.float64)
    _refuse_broken(values, attributor.name, works, queries)
    return values


def attribute_every(
    attributor: Attributor, works: Gallery, queries: Gallery, directory: Path
) -> dict[str, Attributed]:
    """As `attribute`, for all of a method's scores, each with the cost of the whole computation."""
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
    found = {}
    for name, values in by_name.items():
        values = np.asarray(values, dtype=np.float64)
        _refuse_broken(values, name, works, queries)
        found[name] = Attributed(values, cost)
    return found


def _refuse_broken(values: NDArray[np.float64], name: str, works: Gallery, queries: Gallery) -> None:
    if values.shape != (len(queries), len(works)):
        raise InvalidInput(f"{name} gave scores of shape {values.shape}, not {(len(queries), len(works))}")
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        query, work = broken[0]
        raise InvalidInput(
            f"{name} scored work {works.examples.ids[work]} for query {queries.examples.ids[query]} as"
            f" {values[query, work]}; check that picture, and the generator's weights for NaN"
        )
