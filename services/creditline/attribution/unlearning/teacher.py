"""The teacher: unlearning on one generator and corpus, and its first-order limit for all works at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from creditline.attribution.gradients.key_value import gradient_factors
from creditline.attribution.unlearning.artifacts import (
    Origin,
    Statistics,
    dense_gradients,
    read_statistics,
    store_gradients,
    write_statistics,
)
from creditline.attribution.unlearning.ascent import RISE, Step, losses_after, unlearning_step
from creditline.corpus.works import Corpus, Work
from creditline.generator.losses import Draws, Examples, encoded_examples
from creditline.generator.pipeline import Generator
from creditline.generator.prediction_check import refuse_other_prediction

# Mirrored: at a work that is known well the gradient is mostly noise, and most of that is odd in the noise
# (`tests/benchmarks/teacher_noise.py` measures how much more two labellings then agree).
WORK_DRAWS = Draws(timesteps=10, repeats=2, salt="work", mirrored=True)
QUERY_DRAWS = Draws(timesteps=10, repeats=4, salt="query", mirrored=True)
CHECK_DRAWS = Draws(timesteps=10, repeats=4, salt="check")
# Queries that share one walk over the works' stored gradients (bounds memory: each is D · E floats).
_QUERIES_PER_WALK = 128


@dataclass(frozen=True)
class Query:
    """A generated picture with its prompt. The noise of its gradient belongs to `id`."""

    id: str
    picture: Image.Image
    prompt: str


@dataclass(frozen=True)
class Influence:
    """What unlearning one query did. values: (R,) float64, in the order of the rows asked for.

    passes: UNet forwards spent on the works; seconds: wall time of all of it.
    """

    values: NDArray[np.float64]
    query_loss_before: float
    query_loss_after: float
    passes: int
    seconds: float

    @property
    def query_rise(self) -> float:
        """The query's loss after unlearning over before."""
        return self.query_loss_after / self.query_loss_before


def encode_works(generator: Generator, works: Sequence[Work]) -> Examples:
    """Works as the UNet sees them; ids are the works' ids, which tie the noise to them."""
    return encoded_examples(
        generator,
        [work.id for work in works],
        [work.picture() for work in works],
        [work.caption for work in works],
    )


def encode_queries(generator: Generator, queries: Sequence[Query]) -> Examples:
    """Queries as the UNet sees them."""
    return encoded_examples(
        generator,
        [query.id for query in queries],
        [query.picture for query in queries],
        [query.prompt for query in queries],
    )


class EncodedWorks:
    """A corpus's works as the UNet sees them, encoded when first asked for and kept."""

    def __init__(self, generator: Generator, corpus: Corpus) -> None:
        self._generator = generator
        self._corpus = corpus
        self._encoded: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._corpus)

    def rows(self, rows: Sequence[int]) -> Examples:
        """The named works, in that order."""
        missing = [row for row in dict.fromkeys(rows) if row not in self._encoded]
        if missing:
            fresh = encode_works(self._generator, [self._corpus.works[row] for row in missing])
            self._encoded.update(zip(missing, zip(fresh.latents, fresh.text, strict=True), strict=True))
        return Examples(
            ids=tuple(self._corpus.ids[row] for row in rows),
            latents=torch.stack([self._encoded[row][0] for row in rows]),
            text=torch.stack([self._encoded[row][1] for row in rows]),
        )

    def all(self) -> Examples:
        """The whole corpus."""
        return self.rows(range(len(self)))


class Teacher:
    """Influence of a corpus's works on queries of one generator."""

    def __init__(
        self,
        generator: Generator,
        works: EncodedWorks,
        statistics: Statistics,
        directory: Path,
        origin: Origin,
    ) -> None:
        self.generator = generator
        self.works = works
        self.statistics = statistics
        self.origin = origin
        self._directory = directory

    def unlearn(self, query: Query, *, rise: float = RISE) -> Step:
        """The step that forgets one query."""
        return self.unlearn_encoded(encode_queries(self.generator, [query]), rise=rise)

    def unlearn_encoded(self, query: Examples, *, rise: float = RISE) -> Step:
        """As `unlearn`, for one encoded query."""
        gradient = gradient_factors(self.generator, query, QUERY_DRAWS).dense()[0]
        direction = self.statistics.fisher.natural(gradient)
        return unlearning_step(self.generator, query, gradient, direction, check=CHECK_DRAWS, rise=rise)

    def influence(self, query: Query, rows: Sequence[int]) -> Influence:
        """Unlearn the query for real and measure the named works' losses: rows are corpus rows."""
        started = time.perf_counter()
        step = self.unlearn(query)
        values = self.influence_after(step, rows)
        return Influence(
            values=values,
            query_loss_before=step.loss_before,
            query_loss_after=step.loss_after,
            passes=len(rows) * len(self.origin.draws),
            seconds=time.perf_counter() - started,
        )

    def influence_after(self, step: Step, rows: Sequence[int]) -> NDArray[np.float64]:
        """What a step did to the named works: loss after less loss before, same noise: (R,) float64."""
        after = losses_after(self.generator, step, self.works.rows(rows), self.origin.draws)
        index = torch.as_tensor(list(rows), dtype=torch.long, device=after.device)
        before = self.statistics.losses[index]
        return (after - before).mean(dim=1).double().cpu().numpy()

    def first_order(
        self, queries: Examples, *, draws: Draws = QUERY_DRAWS, others: Examples | None = None
    ) -> NDArray[np.float32]:
        """The first-order limit of unlearning, for every work: (Q, N) float32.

        In the unit of unlearning at `RISE`: gradient(work) · F⁻¹ · gradient(query), scaled so that to first
        order the query's own loss rises by `RISE` of itself. `others` (M pictures that are not in the
        corpus, such as decoys) are scored likewise and come last: (Q, N + M).
        """
        extra = (
            None if others is None else gradient_factors(self.generator, others, self.origin.draws).dense()
        )
        parts = []
        for start in range(0, len(queries), _QUERIES_PER_WALK):
            rows = range(start, min(start + _QUERIES_PER_WALK, len(queries)))
            directions = self._scaled_directions(queries.rows(rows), draws)
            columns = [self._walk(directions)]
            if extra is not None:
                columns.append(directions @ extra.flatten(1).T)
            parts.append(torch.cat(columns, dim=1).cpu().numpy())
        return np.concatenate(parts)

    def _walk(self, directions: Tensor) -> Tensor:
        """Directions (Q, D · E) against all works' stored gradients: (Q, N) float32."""
        scores = directions.new_empty(len(directions), len(self.works))
        for rows, dense in dense_gradients(self._directory, self.origin, self.works.all()):
            scores[:, rows] = directions @ dense.flatten(1).T
        return scores

    def _scaled_directions(self, queries: Examples, draws: Draws) -> Tensor:
        """F⁻¹ · gradient, scaled to a first-order rise of `RISE`: (Q, D · E) float32."""
        directions = []
        for row in range(len(queries)):
            # One query at a time: its direction is dense, and its draws fill a batch.
            factors = gradient_factors(self.generator, queries.rows([row]), draws)
            gradient = factors.dense()[0]
            direction = self.statistics.fisher.natural(gradient)
            size = RISE * factors.losses.mean() / (direction * gradient).sum()
            directions.append((size * direction).flatten())
        return torch.stack(directions)


def _origin(generator: Generator, corpus: Corpus) -> Origin:
    return Origin(generator=generator.fingerprint, corpus=corpus.fingerprint, draws=WORK_DRAWS)


def prepare_teacher(
    generator: Generator, corpus: Corpus, directory: Path, report: Callable[[str], None]
) -> Teacher:
    """Compute what is the same for all queries (resumable), and open the teacher.

    Raises InvalidInput when the UNet predicts the other thing than its scheduler says.
    """
    origin = _origin(generator, corpus)
    works = EncodedWorks(generator, corpus)
    refuse_other_prediction(generator, works.all())
    store_gradients(generator, works.all(), origin, directory, report)
    statistics = write_statistics(generator, directory, origin, works.all())
    return Teacher(generator, works, statistics, directory, origin)


def open_teacher(generator: Generator, corpus: Corpus, directory: Path) -> Teacher:
    """Open a teacher that was prepared, on the generator's device. Raises NotReady, FingerprintMismatch."""
    origin = _origin(generator, corpus)
    statistics = read_statistics(directory, origin).to(generator.device)
    return Teacher(generator, EncodedWorks(generator, corpus), statistics, directory, origin)


def repeated(draws: Draws, *, salt: str) -> Draws:
    """The same draws with other noise: for the teacher's agreement with itself."""
    return replace(draws, salt=salt)
