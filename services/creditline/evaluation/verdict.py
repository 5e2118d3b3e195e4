"""The verdict of an audit: how well a served attribution agrees with unlearning of the query.

The teacher scores all listed works and a uniform random sample of the others. Each sampled work represents
`others / sample` works; the listed works are scored completely. Intervals are bootstrap intervals over the
sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.api.answers import AuditedWork, Verdict
from creditline.errors import InvalidInput
from creditline.evaluation.agreement import discounted, spearman
from creditline.evaluation.bootstrap import Estimate, interval_of

_RESAMPLES = 1000


@dataclass(frozen=True)
class JudgedWork:
    """A work that the teacher scored."""

    id: str
    """Id of the work."""
    influence: float
    """Influence by the teacher."""
    expected_influence: float | None = None
    """Expected influence that was, or would have been, served for the work. None: unknown; the work is left
    out of the rank correlation."""


def judge(
    listed: Sequence[JudgedWork],
    sample: Sequence[JudgedWork],
    *,
    others: int,
    query_rise: float,
    seconds: float,
    seed: int,
) -> Verdict:
    """Compare a served list with the teacher.

    Args:
        listed: The listed works, in served order.
        sample: Works drawn uniformly without replacement from those that were not listed.
        others: Number of works that were not listed.
        query_rise: Rise of the query's loss by unlearning, which is passed on to the verdict.
        seconds: Duration of the audit, which is passed on to the verdict.
        seed: Seed of the resampling.

    Raises:
        InvalidInput: No work was listed, or the sample is larger than `others` or empty.
    """
    _check(listed, sample, others)
    served, drawn = _influence(listed), _influence(sample)
    weight = others / len(drawn) if len(drawn) else 0.0
    draws = _resampled_rows(len(drawn), others, seed)
    return Verdict(
        query_rise=query_rise,
        recall=_estimate(weighted_recall, served, drawn, weight, draws),
        missed_influence=_estimate(missed_influence, served, drawn, weight, draws),
        ndcg=_estimate(weighted_ndcg, served, drawn, weight, draws),
        rank_correlation=_rank_correlation(listed, sample, seed),
        listed_works=len(listed),
        sampled_works=len(sample),
        seconds=seconds,
        works=tuple(
            AuditedWork(work.id, work.influence, is_listed)
            for works, is_listed in ((listed, True), (sample, False))
            for work in works
        ),
    )


def missed_influence(served: NDArray[np.float64], drawn: NDArray[np.float64], weight: float) -> float:
    """Estimated part of the total positive influence that is outside the list.

    Args:
        served: (K,) influence of the listed works, in served order.
        drawn: (S,) influence of the sampled works.
        weight: Number of works that each sampled work represents.

    Returns:
        0 to 1; 0 where no work has positive influence.
    """
    outside = weight * float(np.maximum(drawn, 0.0).sum())
    total = outside + float(np.maximum(served, 0.0).sum())
    return outside / total if total > 0.0 else 0.0


def weighted_recall(served: NDArray[np.float64], drawn: NDArray[np.float64], weight: float) -> float:
    """Estimated recall@K: the part of the corpus's K most influential works that is among the K listed ones.

    Args:
        served: (K,) influence of the listed works, in served order.
        drawn: (S,) influence of the sampled works.
        weight: Number of works that each sampled work represents.
    """
    influence, weights = _population(served, drawn, weight)
    is_served = np.arange(len(influence)) < len(served)
    order = np.argsort(-influence, kind="stable")
    filled = np.minimum(np.cumsum(weights[order]), len(served))
    taken = np.diff(filled, prepend=0.0)
    return float(taken[is_served[order]].sum() / len(served))


def weighted_ndcg(served: NDArray[np.float64], drawn: NDArray[np.float64], weight: float) -> float:
    """Estimated nDCG@K of the served order.

    In the ideal order, a sampled work occupies as many ranks as it represents works.

    Args:
        served: (K,) influence of the listed works, in served order.
        drawn: (S,) influence of the sampled works.
        weight: Number of works that each sampled work represents.

    Returns:
        1 where no work has positive influence.
    """
    influence, weights = _population(served, drawn, weight)
    order = np.argsort(-influence, kind="stable")
    filled = np.minimum(np.cumsum(weights[order]), len(served))
    discount = np.diff(_discount_up_to(filled), prepend=0.0)
    best = float(np.maximum(influence[order], 0.0) @ discount)
    return discounted(np.maximum(served, 0.0)) / best if best > 0.0 else 1.0


def _discount_up_to(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of 1 / log2(rank + 1) over the ranks 1 … x, interpolated linearly between whole ranks."""
    whole = np.arange(int(np.ceil(ranks.max())) + 1)
    sums = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(whole[1:] + 1.0))])
    return np.interp(ranks, whole, sums)


def _population(
    served: NDArray[np.float64], drawn: NDArray[np.float64], weight: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    weights = np.concatenate([np.ones(len(served)), np.full(len(drawn), weight)])
    return np.concatenate([served, drawn]), weights


_Measure = Callable[[NDArray[np.float64], NDArray[np.float64], float], float]


def _estimate(
    measure: _Measure,
    served: NDArray[np.float64],
    drawn: NDArray[np.float64],
    weight: float,
    draws: NDArray[np.intp],
) -> Estimate:
    value = measure(served, drawn, weight)
    if not len(draws):
        return Estimate.certain(value)
    return interval_of(value, [measure(served, drawn[rows], weight) for rows in draws])


def _resampled_rows(sampled: int, others: int, seed: int) -> NDArray[np.intp]:
    """Rows of the sample in each resample, (resamples, S); no resample where all other works were scored."""
    if sampled == others:
        return np.empty((0, sampled), dtype=np.intp)
    return np.random.default_rng(seed).integers(sampled, size=(_RESAMPLES, sampled))


def _rank_correlation(listed: Sequence[JudgedWork], sample: Sequence[JudgedWork], seed: int) -> Estimate:
    """Rank correlation over the scored works whose expected influence is known.

    List and sample are resampled separately (a stratified bootstrap).
    """
    strata = [_known_pairs(listed), _known_pairs(sample)]
    value = _correlation(np.concatenate(strata))
    random = np.random.default_rng(seed)
    resampled = [
        _correlation(
            np.concatenate(
                [pairs[random.integers(len(pairs), size=len(pairs))] for pairs in strata if len(pairs)]
            )
        )
        for _ in range(_RESAMPLES)
        if any(len(pairs) for pairs in strata)
    ]
    return interval_of(value, resampled) if resampled else Estimate.certain(value)


def _known_pairs(works: Sequence[JudgedWork]) -> NDArray[np.float64]:
    """Expected and true influence of the works where both are known: (W, 2)."""
    pairs = [
        (work.expected_influence, work.influence) for work in works if work.expected_influence is not None
    ]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def _correlation(pairs: NDArray[np.float64]) -> float:
    return spearman(pairs[:, 0], pairs[:, 1]) if len(pairs) else 0.0


def _check(listed: Sequence[JudgedWork], sample: Sequence[JudgedWork], others: int) -> None:
    if not listed:
        raise InvalidInput(
            "the attribution has no listed work to judge; audit an attribution that lists at least one",
            field="listed",
        )
    if len(sample) > others or (others > 0 and not sample):
        raise InvalidInput(
            f"{len(sample)} sampled works cannot represent the {others} works that were not listed; sample 1"
            f" to {others}",
            field="sample",
        )


def _influence(works: Sequence[JudgedWork]) -> NDArray[np.float64]:
    return np.array([work.influence for work in works], dtype=np.float64)
