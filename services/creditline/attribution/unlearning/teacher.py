"""The teacher: unlearning on one generator and corpus, and its first-order limit for all works."""

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
from creditline.attribution.unlearning.ascent import (
    RISE,
    Step,
    losses_after,
    refuse_without_slope,
    unlearning_step,
)
from creditline.corpus.works import Corpus, Work
from creditline.generator.losses import Draws, Examples, denoising_losses, encoded_examples
from creditline.generator.pipeline import Generator
from creditline.generator.prediction_check import check_corpus

# Mirrored, because the gradient at a well-learned work is mostly noise, and most of that is odd in the noise
# (`tests/benchmarks/teacher_noise.py` measures how much the agreement of two labellings gains).
WORK_DRAWS = Draws(timesteps=10, repeats=2, salt="work", mirrored=True)
QUERY_DRAWS = Draws(timesteps=10, repeats=4, salt="query", mirrored=True)
CHECK_DRAWS = Draws(timesteps=10, repeats=4, salt="check")
# Number of queries scored in one scan of the works' stored gradients (bounds memory: each is D · E floats).
_QUERIES_PER_SCAN = 128


@dataclass(frozen=True)
class Query:
    """A generated picture with its prompt."""

    id: str
    """Id of the query, which also determines the noise of its loss and gradient."""
    picture: Image.Image
    """The generated picture."""
    prompt: str
    """The prompt that it was generated from."""


@dataclass(frozen=True)
class Influence:
    """Result of unlearning one query."""

    values: NDArray[np.float64]
    """Influence of each requested work, in the order of the request: (R,) float64."""
    query_loss_before: float
    """The query's loss before unlearning."""
    query_loss_after: float
    """The query's loss after unlearning."""
    passes: int
    """UNet forward passes spent on the works."""
    seconds: float
    """Wall time in seconds of unlearning and measurement."""

    @property
    def query_rise(self) -> float:
        """Ratio of the query's loss after unlearning to the loss before."""
        return self.query_loss_after / self.query_loss_before


def encode_works(generator: Generator, works: Sequence[Work]) -> Examples:
    """Encode works for the UNet; the examples have the works' ids, which determine the noise."""
    return encoded_examples(
        generator,
        [work.id for work in works],
        [work.picture() for work in works],
        [work.caption for work in works],
    )


def encode_queries(generator: Generator, queries: Sequence[Query]) -> Examples:
    """Encode queries for the UNet; the examples have the queries' ids, which determine the noise."""
    return encoded_examples(
        generator,
        [query.id for query in queries],
        [query.picture for query in queries],
        [query.prompt for query in queries],
    )


class EncodedWorks:
    """The works of a corpus, encoded for the UNet at first use and kept in memory.

    Args:
        generator: The generator that encodes the works.
        corpus: The corpus.
    """

    def __init__(self, generator: Generator, corpus: Corpus) -> None:
        self._generator = generator
        self._corpus = corpus
        self._encoded: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._corpus)

    def rows(self, rows: Sequence[int]) -> Examples:
        """The works at the given rows of the corpus, in the given order."""
        missing = [row for row in dict.fromkeys(rows) if row not in self._encoded]
        if missing:
            encoded = encode_works(self._generator, [self._corpus.works[row] for row in missing])
            self._encoded.update(zip(missing, zip(encoded.latents, encoded.text, strict=True), strict=True))
        return Examples(
            ids=tuple(self._corpus.ids[row] for row in rows),
            latents=torch.stack([self._encoded[row][0] for row in rows]),
            text=torch.stack([self._encoded[row][1] for row in rows]),
        )

    def all(self) -> Examples:
        """All works, in the order of the corpus."""
        return self.rows(range(len(self)))


class Teacher:
    """Influence of the works of a corpus on queries of one generator.

    Args:
        generator: The generator.
        works: The encoded works.
        statistics: Losses of the works and Fisher, on the generator's device.
        directory: Directory of the artifacts.
        origin: Origin of the artifacts.
    """

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
        """Find the step that unlearns one query.

        Args:
            query: The query.
            rise: Relative rise of the query's loss.

        Raises:
            InvalidInput: The query's loss cannot be raised by that much.
        """
        return self.unlearn_encoded(encode_queries(self.generator, [query]), rise=rise)

    def unlearn_encoded(self, query: Examples, *, rise: float = RISE) -> Step:
        """Find the step that unlearns one encoded query, as `unlearn` does."""
        gradient = gradient_factors(self.generator, query, QUERY_DRAWS).dense()[0]
        direction = self.statistics.fisher.natural(gradient)
        return unlearning_step(self.generator, query, gradient, direction, check=CHECK_DRAWS, rise=rise)

    def influence(self, query: Query, rows: Sequence[int]) -> Influence:
        """Unlearn a query and measure the change of some works' losses.

        Args:
            query: The query.
            rows: Rows of the works in the corpus.

        Raises:
            InvalidInput: The query's loss cannot be raised far enough to unlearn it.
        """
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
        """Influence of a step on some works: loss after minus loss before, at the same noise.

        Args:
            step: The step that unlearns a query.
            rows: Rows of the works in the corpus, R of them.

        Returns:
            Influence of each work: (R,) float64.
        """
        after = losses_after(self.generator, step, self.works.rows(rows), self.origin.draws)
        index = torch.as_tensor(list(rows), dtype=torch.long, device=after.device)
        before = self.statistics.losses[index]
        return (after - before).mean(dim=1).double().cpu().numpy()

    def first_order(
        self, queries: Examples, *, draws: Draws = QUERY_DRAWS, others: Examples | None = None
    ) -> NDArray[np.float32]:
        """First-order limit of unlearning for every work, gradient(work) · F⁻¹ · gradient(query).

        It is in the unit of unlearning at `RISE`: scaled so that, to first order, the query's own loss rises
        by the part `RISE`.

        Args:
            queries: The queries, Q of them.
            draws: Timesteps and noises of the queries' gradients.
            others: M pictures outside the corpus, such as decoys, that are scored like works; None: none.

        Returns:
            Scores of the N works, then of the M other pictures: (Q, N + M) float32.

        Raises:
            NotReady: The stored gradients of some works are missing.
            InvalidInput: A query has no gradient, or a gradient is NaN or infinite.
        """
        extra = (
            None if others is None else gradient_factors(self.generator, others, self.origin.draws).dense()
        )
        parts = []
        for start in range(0, len(queries), _QUERIES_PER_SCAN):
            rows = range(start, min(start + _QUERIES_PER_SCAN, len(queries)))
            directions = self._scaled_directions(queries.rows(rows), draws)
            columns = [self._score_works(directions)]
            if extra is not None:
                columns.append(directions @ extra.flatten(1).T)
            parts.append(torch.cat(columns, dim=1).cpu().numpy())
        return np.concatenate(parts)

    def _score_works(self, directions: Tensor) -> Tensor:
        """Inner products of directions (Q, D · E) with all works' stored gradients: (Q, N) float32."""
        scores = directions.new_empty(len(directions), len(self.works))
        for rows, dense in dense_gradients(self._directory, self.origin, self.works.all()):
            scores[:, rows] = directions @ dense.flatten(1).T
        return scores

    def _scaled_directions(self, queries: Examples, draws: Draws) -> Tensor:
        """F⁻¹ · gradient, scaled to a first-order rise of `RISE`: (Q, D · E) float32."""
        directions = []
        for row in range(len(queries)):
            # One query at a time: its direction is dense, and its draws fill a whole batch.
            query = queries.rows([row])
            factors = gradient_factors(self.generator, query, draws)
            gradient = factors.dense()[0]
            direction = self.statistics.fisher.natural(gradient)
            loss, slope = factors.losses.mean(), (direction * gradient).sum()
            refuse_without_slope(float(loss), float(slope), query)
            size = RISE * loss / slope
            directions.append((size * direction).flatten())
        return torch.stack(directions)


class GrownTeacher(Teacher):
    """A teacher that also scores works that were added to the corpus after its statistics were computed.

    The losses of added works before unlearning are computed when a work is first scored. The Fisher
    information stays that of the corpus of before.

    Args:
        base: The teacher of the corpus of before.
        corpus: The grown corpus, which begins with the works of that corpus.
    """

    def __init__(self, base: Teacher, corpus: Corpus) -> None:
        works = EncodedWorks(base.generator, corpus)
        super().__init__(base.generator, works, base.statistics, base._directory, base.origin)
        self._added_losses: dict[int, Tensor] = {}

    def influence_after(self, step: Step, rows: Sequence[int]) -> NDArray[np.float64]:
        """Influence of a step on some works, see `Teacher.influence_after`."""
        after = losses_after(self.generator, step, self.works.rows(rows), self.origin.draws)
        losses = self._losses_before(rows)
        before = torch.stack([losses[row].to(after.device) for row in rows])
        return (after - before).mean(dim=1).double().cpu().numpy()

    def _losses_before(self, rows: Sequence[int]) -> dict[int, Tensor]:
        """Losses of some works under θ₀ by row, each (draws,) float32."""
        known = len(self.statistics.losses)
        missing = [row for row in dict.fromkeys(rows) if row >= known and row not in self._added_losses]
        if missing:
            losses = denoising_losses(self.generator, self.works.rows(missing), self.origin.draws)
            self._added_losses.update(zip(missing, losses, strict=True))
        return {row: self.statistics.losses[row] if row < known else self._added_losses[row] for row in rows}


def _origin(generator: Generator, corpus: Corpus) -> Origin:
    return Origin(generator=generator.fingerprint, corpus=corpus.fingerprint, draws=WORK_DRAWS)


def prepare_teacher(
    generator: Generator,
    corpus: Corpus,
    directory: Path,
    report: Callable[[str], None],
    *,
    prediction_check: bool = True,
) -> Teacher:
    """Compute the teacher's artifacts and open the teacher. An interrupted run resumes.

    Args:
        generator: The generator.
        corpus: The works that it was trained on.
        directory: Directory of the artifacts.
        report: Receives one line about progress at a time.
        prediction_check: Whether to check the UNet's prediction type first.

    Raises:
        InvalidInput: The UNet's prediction type (noise or v) is not the one that its scheduler specifies.
        FingerprintMismatch: The directory holds artifacts of another generator or corpus.
    """
    origin = _origin(generator, corpus)
    works = EncodedWorks(generator, corpus)
    if prediction_check:
        report(check_corpus(generator, corpus).sentence())
    store_gradients(generator, works.all(), origin, directory, report)
    statistics = write_statistics(generator, directory, origin, works.all())
    return Teacher(generator, works, statistics, directory, origin)


def open_teacher(generator: Generator, corpus: Corpus, directory: Path) -> Teacher:
    """Open a prepared teacher on the generator's device.

    Args:
        generator: The generator.
        corpus: The works that it was trained on.
        directory: Directory of the artifacts.

    Raises:
        NotReady: The teacher was not prepared in this directory.
        FingerprintMismatch: The directory holds artifacts of another generator or corpus.
    """
    origin = _origin(generator, corpus)
    statistics = read_statistics(directory, origin).to(generator.device)
    return Teacher(generator, EncodedWorks(generator, corpus), statistics, directory, origin)


def repeated(draws: Draws, *, salt: str) -> Draws:
    """Draws with other noise, to measure the teacher's agreement with itself.

    Args:
        draws: The draws.
        salt: Salt of the other noise.
    """
    return replace(draws, salt=salt)
