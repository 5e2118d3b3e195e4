"""Ours against every published method with every aid, over resamples and random splits of the subsets.

Whatever a method chooses (noise, λ, power, weights of a sum) is chosen again in each resample and split, on
its choosing subsets; the best rival is the best on the *judging* subsets, which favours the rivals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.consensus import sharpened, standardised
from creditline.evaluation.lab.judging.aids import POWERS, Aid, AidedMethod
from creditline.evaluation.lab.judging.counted import counted_spearman
from creditline.evaluation.lab.judging.scoring import CHOOSING
from creditline.evaluation.lab.judging.weighting import counted_weights
from creditline.evaluation.lab.record import LabRecord

_Counts = NDArray[np.float64]
# What is sharpened in a sum: nothing, the sum alone, or each member and the sum.
Sharpening = Literal["none", "sum", "members"]


@dataclass(frozen=True)
class Draw:
    """Subsets for choosing, subsets for judging, and queries, each with the number of its occurrences."""

    choosing: _Counts
    """(M,) float64."""
    judging: _Counts
    """(M,) float64."""
    queries: _Counts
    """(Q,) float64."""


def standard_draw(subsets: int, queries: int) -> Draw:
    """The first `CHOOSING` subsets for choosing, the others for judging, every query once."""
    first = (np.arange(subsets) < CHOOSING).astype(np.float64)
    return Draw(first, 1.0 - first, np.ones(queries))


def resampled_draws(subsets: int, queries: int, *, count: int, seed: int) -> Iterator[Draw]:
    """Bootstrap resamples of the choosing subsets, of the judging subsets, and of the queries."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        choosing = _occurrences(random.integers(CHOOSING, size=CHOOSING), subsets)
        judging = _occurrences(random.integers(CHOOSING, subsets, size=subsets - CHOOSING), subsets)
        yield Draw(choosing, judging, _occurrences(random.integers(queries, size=queries), queries))


def split_draws(
    subsets: int, queries: int, *, count: int, seed: int, choosing: int = CHOOSING
) -> Iterator[Draw]:
    """Random splits of all subsets into `choosing` for choosing and the others for judging."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        chosen = _occurrences(random.permutation(subsets)[:choosing], subsets)
        yield Draw(chosen, 1.0 - chosen, np.ones(queries))


def _occurrences(drawn: NDArray[np.intp], size: int) -> _Counts:
    return np.bincount(drawn, minlength=size).astype(np.float64)


@dataclass(frozen=True)
class Sum:
    """A sum of methods, with weights fitted like those of a consensus."""

    name: str
    """Name of the sum."""
    members: tuple[str, ...]
    """Names of the methods that it is offered."""
    sharpening: Sharpening
    """What may be sharpened, with powers that are chosen on the choosing subsets."""


@dataclass(frozen=True)
class FittedSum:
    """What a sum chose on the choosing subsets, and its LDS on the judging subsets."""

    lds: float
    """Mean LDS on the judging subsets."""
    weights: Mapping[Aid, float]
    """Weight of each member with its aids, the largest 1; members of weight 0 are left out."""
    power: float
    """Exponent of the sum."""
    scores: NDArray[np.float64]
    """(Q, N) float64, the sum's scores."""


@dataclass(frozen=True)
class Chosen:
    """One method with the aids that were chosen for it, and its LDS on the judging subsets."""

    aid: Aid
    """The aids."""
    lds: float
    """Mean LDS on the judging subsets."""


@dataclass(frozen=True)
class Outcome:
    """The comparison at one draw."""

    plain: Mapping[str, Chosen]
    """Every method with noise and λ chosen, not sharpened, by name."""
    sharpened: Mapping[str, Chosen]
    """Every method with noise, λ and power chosen, by name."""
    sums: Mapping[str, FittedSum]
    """Every sum, by name."""

    def best(self, names: Sequence[str], *, sharp: bool) -> float:
        """The highest LDS of some methods on the judging subsets."""
        found = self.sharpened if sharp else self.plain
        return max(found[name].lds for name in names)


class Comparison:
    """Methods and sums of methods over one list of queries.

    Args:
        record: The lab's record.
        rows: Rows of the queries in the record, all of them generated; every method scored them.
        methods: The methods with their aids.
        sums: Sums of some of them.

    Raises:
        NotReady: The record lacks subsets of its plan.
    """

    def __init__(
        self, record: LabRecord, rows: Sequence[int], methods: Sequence[AidedMethod], sums: Sequence[Sum]
    ) -> None:
        record.refuse_incomplete()
        retrained = record.retrained("generated")
        columns = np.searchsorted(record.query_rows("generated"), rows)
        self._subsets = retrained.subsets
        self._benefit = retrained.benefit()[:, columns]
        self._methods = {method.name: method for method in methods}
        self._sums = tuple(sums)
        self._aids = [aid for method in methods for aid in method.aids]
        self._scores = np.concatenate([method.scores for method in methods])
        self._predicted = np.stack([self._predictions(scores) for scores in self._scores])
        ends = np.cumsum([len(method.aids) for method in methods])
        self._places = {
            method.name: np.arange(end - len(method.aids), end)
            for method, end in zip(methods, ends, strict=True)
        }
        self._unsharpened = np.array([aid.power == 1.0 for aid in self._aids])

    @property
    def standard(self) -> Draw:
        """The draw of the tables: the first subsets for choosing, the others for judging."""
        return standard_draw(*self._benefit.shape)

    def outcome(self, draw: Draw) -> Outcome:
        """Choose everything on the choosing subsets of a draw, and judge it on the judging subsets."""
        choosing = self._lds(self._predicted, draw.choosing, draw)
        plain, sharp = (self._chosen(choosing, sharpen=sharpen) for sharpen in (False, True))
        return Outcome(
            self._judged(plain, draw),
            self._judged(sharp, draw),
            {
                one.name: self._fitted(one, sharp if one.sharpening == "members" else plain, draw)
                for one in self._sums
            },
        )

    def _judged(self, chosen: Mapping[str, int], draw: Draw) -> dict[str, Chosen]:
        found = self._lds(self._predicted[list(chosen.values())], draw.judging, draw)
        return {
            name: Chosen(self._aids[place], float(lds))
            for (name, place), lds in zip(chosen.items(), found, strict=True)
        }

    def _chosen(self, choosing: NDArray[np.float64], *, sharpen: bool) -> dict[str, int]:
        """Place of the combination of each method with the highest LDS on the choosing subsets."""
        allowed = choosing if sharpen else np.where(self._unsharpened, choosing, -np.inf)
        return {name: int(places[np.argmax(allowed[places])]) for name, places in self._places.items()}

    def _fitted(self, one: Sum, chosen: Mapping[str, int], draw: Draw) -> FittedSum:
        places = [chosen[name] for name in one.members]
        weights = counted_weights(self._predicted[places], self._benefit, draw.choosing, draw.queries)
        total = np.tensordot(weights, self._scores[places].astype(np.float64), axes=1)
        powers = (1.0,) if one.sharpening == "none" else POWERS
        tables = [standardised(sharpened(total, power)) for power in powers]
        predicted = np.stack([self._predictions(table) for table in tables])
        best = int(np.argmax(self._lds(predicted, draw.choosing, draw)))
        return FittedSum(
            lds=float(self._lds(predicted[[best]], draw.judging, draw)[0]),
            weights={
                self._aids[place]: float(weight)
                for place, weight in zip(places, weights, strict=True)
                if weight > 0
            },
            power=powers[best],
            scores=tables[best],
        )

    def _predictions(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Predicted benefit of each query under each subset: (Q, N) -> (M, Q)."""
        predicted: NDArray[np.float64] = self._subsets @ scores.T.astype(np.float64)
        return predicted

    def _lds(self, predicted: NDArray[np.float64], subsets: _Counts, draw: Draw) -> NDArray[np.float64]:
        """Mean LDS over the queries of a draw: (V, M, Q) -> (V,)."""
        drawn = draw.queries > 0
        by_query = counted_spearman(predicted[:, :, drawn], self._benefit[:, drawn], subsets)
        mean: NDArray[np.float64] = by_query @ draw.queries[drawn] / draw.queries.sum()
        return mean
