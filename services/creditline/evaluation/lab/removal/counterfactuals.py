"""Effect of leaving out works on the loss and picture of queries, compared with leaving out random works."""

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
from creditline.evaluation.lab.removal.removals import (
    CONTRIBUTOR,
    NOTHING,
    RANDOM,
    RETRAINING_SEED,
    RemovalRecord,
)

SEED = 23

# (first (H, W, 3) uint8, second (H, W, 3) uint8) -> distance between the pictures.
PictureChange = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]


def mean_squared_error(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean squared error of two pictures, pixel values scaled to 0 … 1; both (H, W, 3) uint8."""
    return float(np.square(first.astype(np.float64) - second.astype(np.float64)).mean() / 255.0**2)


def feature_distance(features: Callable[[Sequence[Image.Image]], NDArray[np.float32]]) -> PictureChange:
    """The distance 1 − cosine between the features of two pictures.

    Args:
        features: From pictures to their features by a tower, (B, D) float32.
    """

    def distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
        rows = features([Image.fromarray(first), Image.fromarray(second)]).astype(np.float64)
        one, other = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return 1.0 - float(one @ other)

    return distance


def structural_dissimilarity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """1 − SSIM (structural similarity) of two pictures, both (H, W, 3) uint8."""
    similarity: float = structural_similarity(first, second, channel_axis=2, data_range=255)  # type: ignore[no-untyped-call]
    return 1.0 - float(similarity)


@dataclass(frozen=True)
class Counterfactuals:
    """Loss and picture changes by removals of works; loss changes are in relative units (`LossUnit`).

    A loss is compared with the mean over models of all works from other seeds than the generator's, because
    the effect of retraining as such is not influence. A picture is compared with that of the model of all
    works with the seed of the removals.
    """

    record: LabRecord
    """The lab's record."""
    removals: RemovalRecord
    """Losses and pictures of the models without some works."""

    def methods(self) -> list[str]:
        """Names of the methods whose first works were removed, sorted."""
        return sorted(
            {removal.reason for removal in self.removals.removals if removal.subject in self._query_rows}
        )

    def queries(self, method: str) -> list[str]:
        """Ids of the queries for which the method's first works were removed."""
        return [self.removals.removals[row].subject for row in self.removals.rows(method)]

    def loss_changes(self, method: str) -> NDArray[np.float64]:
        """ΔL of each of the method's queries without the works that it ranks first: (queries,) float64."""
        columns = [self._query_rows[query] for query in self.queries(method)]
        return self._changes(self.removals.rows(method))[np.arange(len(columns)), columns]

    def random_loss_changes(self, queries: Sequence[str]) -> NDArray[np.float64]:
        """ΔL of the given queries without random works, averaged over the models: (queries,) float64."""
        columns = [self._query_rows[query] for query in queries]
        averaged: NDArray[np.float64] = self._changes(self.removals.rows(RANDOM))[:, columns].mean(axis=0)
        return averaged

    def over_random(self, method: str) -> Estimate:
        """Ratio of ΔL without the works that a method ranks first to ΔL without equally many random works.

        The denominator is a mean over all generated queries, because random works are unrelated to the query;
        numerator and denominator are resampled separately over their queries.
        """
        generated = [query.id for query in self.record.queries if query.kind == "generated"]
        ours, control = self.loss_changes(method), self.random_loss_changes(generated)
        random = np.random.default_rng(SEED)

        def resampled_mean(values: NDArray[np.float64]) -> float:
            return float(values[random.integers(len(values), size=len(values))].mean())

        ratios = [resampled_mean(ours) / resampled_mean(control) for _ in range(RESAMPLES)]
        return interval_of(float(ours.mean() / control.mean()), ratios)

    def picture_changes(self, reason: str, change: PictureChange) -> list[dict[str, float]]:
        """Distance of each query's picture from that of the model of all works.

        Args:
            reason: Reason of the removals.
            change: Distance between two pictures.

        Returns:
            For each removal of the reason, the distance by query id.

        Raises:
            InvalidInput: No model of all works with the seed of the removals is recorded.
        """
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
        """Pictures by the model of all works with the seed of the removals, by query id.

        Raises:
            InvalidInput: No such model is recorded.
        """
        for row in self.removals.rows(NOTHING):
            if self.removals.removals[row].seed == RETRAINING_SEED:
                return self.removals.pictures[row]
        raise InvalidInput(
            f"no model of all works with seed {RETRAINING_SEED} is recorded; continue with"
            " `creditline lab remove`"
        )

    def auroc(self, method: str, change: PictureChange) -> Estimate:
        """AUROC of picture changes.

        This is how often a picture changes more without the method's works than without random works.

        Args:
            method: Name of the method.
            change: Distance between two pictures.

        Raises:
            InvalidInput: No model without random works is recorded.
        """
        random = self.picture_changes(RANDOM, change)
        if not random:
            raise InvalidInput(
                "no model without random works is recorded; continue with `creditline lab remove`"
            )
        ours = {query: value for one in self.picture_changes(method, change) for query, value in one.items()}
        wins = [
            np.mean([_beats(value, control[query]) for control in random]) for query, value in ours.items()
        ]
        return bootstrap_mean(wins, seed=SEED)

    def mean_change(self, reason: str, change: PictureChange) -> Estimate:
        """Mean distance of the pictures from those of the model of all works (interval over queries)."""
        by_query: dict[str, list[float]] = {}
        for one in self.picture_changes(reason, change):
            for query, value in one.items():
                by_query.setdefault(query, []).append(value)
        return bootstrap_mean([float(np.mean(values)) for values in by_query.values()], seed=SEED)

    def contributor_changes(self) -> Mapping[str, NDArray[np.float64]]:
        """ΔL of all queries without all works of a contributor, by contributor: (Q,) float64.

        Where models of several seeds lack one contributor, this is the mean of their changes.
        """
        rows = self.removals.rows(CONTRIBUTOR)
        changes, found = self._changes(rows), dict[str, list[NDArray[np.float64]]]()
        for number, row in enumerate(rows):
            found.setdefault(self.removals.removals[row].subject, []).append(changes[number])
        return {name: np.mean(of_seeds, axis=0) for name, of_seeds in found.items()}

    def untouched_losses(self) -> NDArray[np.float64]:
        """Losses of all queries under each model of all works, in relative units: (models, Q) float64.

        Raises:
            InvalidInput: No such model is recorded.
        """
        untouched = self._losses(self.removals.rows(NOTHING))
        if not len(untouched):
            raise InvalidInput("no model of all works is recorded; continue with `creditline lab remove`")
        return untouched

    def _changes(self, rows: Sequence[int]) -> NDArray[np.float64]:
        changed: NDArray[np.float64] = self._losses(rows) - self.untouched_losses().mean(axis=0)
        return changed

    def _losses(self, rows: Sequence[int]) -> NDArray[np.float64]:
        weights = self.record.timestep_weights("relative")
        losses: NDArray[np.float64] = self.removals.losses[list(rows)].astype(np.float64) @ weights
        return losses / len(weights)

    @cached_property
    def _query_rows(self) -> dict[str, int]:
        return {query.id: row for row, query in enumerate(self.record.queries)}


def _beats(ours: float, control: float) -> float:
    return 0.5 if ours == control else float(ours > control)
