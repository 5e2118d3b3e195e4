"""What leaving works out did to the queries: loss and picture, beyond leaving out random works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from creditline.errors import InvalidInput
from creditline.evaluation.bootstrap import RESAMPLES, Estimate, bootstrap_mean, interval_of
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lab.removal.removals import NOTHING, RANDOM, RETRAINING_SEED, RemovalRecord

SEED = 23

# (first (H, W, 3) uint8, second) -> how far apart; larger is farther.
PictureChange = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]


def mean_squared_error(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Of pixels in 0 … 1."""
    return float(np.square(first.astype(np.float64) - second.astype(np.float64)).mean() / 255.0**2)


def feature_distance(features: Callable[[Sequence[Image.Image]], NDArray[np.float32]]) -> PictureChange:
    """1 − cosine of what a tower sees. features: pictures -> (B, D)."""

    def distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
        rows = features([Image.fromarray(first), Image.fromarray(second)]).astype(np.float64)
        one, other = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return 1.0 - float(one @ other)

    return distance


def structural_dissimilarity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """1 − SSIM."""
    similarity: float = structural_similarity(first, second, channel_axis=2, data_range=255)  # type: ignore[no-untyped-call]
    return 1.0 - float(similarity)


@dataclass(frozen=True)
class Counterfactuals:
    """A lab's record and its record of removals; all loss changes are relative ones (`LossUnit`).

    A loss is held against the mean over models from which nothing was taken, of other seeds than the
    generator's own: what training again does by itself is not influence. A picture is held against that of
    the model of all works that began from the same seed as the removals'.
    """

    record: LabRecord
    removals: RemovalRecord

    def methods(self) -> list[str]:
        """Reasons of removals that are for one query each."""
        return sorted(
            {removal.reason for removal in self.removals.removals if removal.subject in self._places}
        )

    def queries(self, method: str) -> list[str]:
        """The queries that the method's removals are for."""
        return [self.removals.removals[row].subject for row in self.removals.rows(method)]

    def loss_changes(self, method: str) -> NDArray[np.float64]:
        """ΔL of each of the method's queries without its first works: (queries,)."""
        places = [self._places[query] for query in self.queries(method)]
        return self._changes(self.removals.rows(method))[np.arange(len(places)), places]

    def random_loss_changes(self, queries: Sequence[str]) -> NDArray[np.float64]:
        """ΔL of those queries without random works, mean over the models: (queries,)."""
        places = [self._places[query] for query in queries]
        averaged: NDArray[np.float64] = self._changes(self.removals.rows(RANDOM))[:, places].mean(axis=0)
        return averaged

    def over_random(self, method: str) -> Estimate:
        """ΔL without the method's works over ΔL without as many random ones.

        Any generated query tells what random works are worth, so that the control is a mean over all of them;
        both sides are resampled over their queries.
        """
        generated = [query.id for query in self.record.queries if query.kind == "generated"]
        ours, control = self.loss_changes(method), self.random_loss_changes(generated)
        random = np.random.default_rng(SEED)

        def drawn_mean(values: NDArray[np.float64]) -> float:
            return float(values[random.integers(len(values), size=len(values))].mean())

        ratios = [drawn_mean(ours) / drawn_mean(control) for _ in range(RESAMPLES)]
        return interval_of(float(ours.mean() / control.mean()), ratios)

    def picture_changes(self, reason: str, change: PictureChange) -> list[dict[str, float]]:
        """For each removal of a reason: how far its queries' pictures are from the untouched model's."""
        untouched = self.untouched_pictures
        return [
            {
                query: change(picture, untouched[query])
                for query, picture in self.removals.pictures[row].items()
            }
            for row in self.removals.rows(reason)
            if self.removals.pictures[row] is not untouched
        ]

    @cached_property
    def untouched_pictures(self) -> dict[str, NDArray[np.uint8]]:
        """What the model of all works made, of the removals' own seed. Raises InvalidInput without one."""
        for row in self.removals.rows(NOTHING):
            if self.removals.removals[row].seed == RETRAINING_SEED:
                return self.removals.pictures[row]
        raise InvalidInput("no model of all works of the removals' seed; run `creditline lab remove` on")

    def auroc(self, method: str, change: PictureChange) -> Estimate:
        """How often a query's picture changes more without the method's works than without random ones."""
        random = self.picture_changes(RANDOM, change)
        if not random:
            raise InvalidInput("no model without random works is recorded; run `creditline lab remove` on")
        ours = {query: value for one in self.picture_changes(method, change) for query, value in one.items()}
        wins = [
            np.mean([_beats(value, control[query]) for control in random]) for query, value in ours.items()
        ]
        return bootstrap_mean(wins, seed=SEED)

    def mean_change(self, reason: str, change: PictureChange) -> Estimate:
        """Mean change of the pictures, over queries (and models of random removals)."""
        by_query: dict[str, list[float]] = {}
        for one in self.picture_changes(reason, change):
            for query, value in one.items():
                by_query.setdefault(query, []).append(value)
        return bootstrap_mean([float(np.mean(values)) for values in by_query.values()], seed=SEED)

    def contributor_changes(self) -> Mapping[str, NDArray[np.float64]]:
        """ΔL of every query without all works of a contributor: name -> (Q,)."""
        rows = self.removals.rows("contributor")
        changes = self._changes(rows)
        return {self.removals.removals[row].subject: changes[number] for number, row in enumerate(rows)}

    def _changes(self, rows: Sequence[int]) -> NDArray[np.float64]:
        weights = self.record.timestep_weights("relative")
        losses = self.removals.losses.astype(np.float64) @ weights / len(weights)
        untouched = losses[self.removals.rows(NOTHING)]
        if not len(untouched):
            raise InvalidInput("no model of all works is recorded; run `creditline lab remove` on")
        changed: NDArray[np.float64] = losses[list(rows)] - untouched.mean(axis=0)
        return changed

    @cached_property
    def _places(self) -> dict[str, int]:
        return {query.id: place for place, query in enumerate(self.record.queries)}


def _beats(ours: float, control: float) -> float:
    return 0.5 if ours == control else float(ours > control)
