"""Evaluation of an encoder on held-out queries.

Agreement with the teacher, compared with raw features, with chance, and with the ceiling: the teacher's
agreement with itself under other noise.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.distillation.assessment.calibration_fitting import (
    check_calibration,
    fit_calibration,
    relative_influence,
)
from creditline.distillation.assessment.softmax_fitting import fit_shares
from creditline.encoder.encoder import Encoder, Side
from creditline.evaluation.agreement import ndcg_at_k, recall_at_k, spearman
from creditline.evaluation.bootstrap import Estimate, bootstrap_mean, paired_difference
from creditline.towers.parts import Parts

OURS, CEILING, RANDOM = "encoder", "teacher again", "random"
_RAW_PARTS = {
    "raw image": ("image",),
    "raw layout": ("layout",),
    "raw text": ("text",),
    "raw joined": ("image", "layout", "text"),
}
RAW = tuple(_RAW_PARTS)
_NDCG_DEPTH = 100
_RECALL_DEPTH = 10

Scores = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out queries and all works as features, with the teacher's influence."""

    queries: NDArray[np.float32]
    """(H, F) float32, joined features of the queries."""
    works: NDArray[np.float32]
    """(N, F) float32, joined features of the works."""
    influence: NDArray[np.float32]
    """(H, N) float32, the teacher's influence."""
    parts: Parts
    """Parts of the joined features."""
    influence_repeat: NDArray[np.float32] | None = None
    """(H, N) float32, influence labelled again with other noise; None: labelled once."""
    decoys: NDArray[np.float32] | None = None
    """(D, F) float32, joined features of pictures that the generator never saw."""
    decoy_influence: NDArray[np.float32] | None = None
    """(H, D) float32, the teacher's influence of the decoys."""

    @functools.cached_property
    def relative(self) -> NDArray[np.float32]:
        """Each work's influence divided by its query's total positive influence: (H, N) float32."""
        return relative_influence(self.influence)


@dataclass(frozen=True, eq=False)
class MethodAgreement:
    """Agreement of a method's ranking with the teacher's."""

    name: str
    """Name of the method."""
    ndcg100: Estimate
    """nDCG@100, mean over queries."""
    recall10: Estimate
    """Recall@10, mean over queries."""
    rank_correlation: Estimate
    """Spearman correlation, mean over queries."""
    ndcg100_by_query: NDArray[np.float64]
    """(H,) float64, nDCG@100 of each query."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """Result of an evaluation."""

    methods: tuple[MethodAgreement, ...]
    """Agreement of each method."""
    figures: Mapping[str, Estimate]
    """Figures by their benchmark names, without the prefix `encoder.`."""

    def method(self, name: str) -> MethodAgreement:
        """Agreement of the method with the given name."""
        return next(method for method in self.methods if method.name == name)


def assess(encoder: Encoder, held_out: HeldOut, *, seed: int) -> Assessment:
    """Evaluate an encoder on queries that it was not trained on; `seed` is that of bootstrap and halves."""
    methods = method_agreements(encoder, held_out, seed=seed)
    figures = {
        **_agreement_figures({method.name: method for method in methods}, seed),
        **_decoy_figures(encoder, held_out, methods, seed),
        **_calibration_figures(encoder_cosines(encoder, held_out), held_out.relative, seed),
    }
    return Assessment(methods, figures)


def method_agreements(encoder: Encoder, held_out: HeldOut, *, seed: int) -> tuple[MethodAgreement, ...]:
    """Agreement of the encoder, of raw features, of random scores, and of the teacher's repeated labels.

    The last is included only where the queries were labelled twice.
    """
    scores = {OURS: encoder_cosines(encoder, held_out), **raw_cosines(held_out)}
    scores[RANDOM] = np.random.default_rng(seed).random(held_out.influence.shape, dtype=np.float32)
    if held_out.influence_repeat is not None:
        scores[CEILING] = held_out.influence_repeat
    return tuple(_agreement(name, values, held_out.influence, seed) for name, values in scores.items())


def encoder_cosines(encoder: Encoder, held_out: HeldOut) -> Scores:
    """Cosines of the encoder's vectors of queries and works: (H, N) float32."""
    works = encoder.encode_features(held_out.works, Side.WORK)
    cosines: Scores = encoder.encode_features(held_out.queries, Side.QUERY) @ works.T
    return cosines


def raw_cosines(held_out: HeldOut) -> dict[str, Scores]:
    """Cosines of raw features by name, each part alone and all parts joined: (H, N) float32 each."""
    return {name: _raw_cosines(name, held_out, held_out.works) for name in RAW}


def _raw_cosines(name: str, held_out: HeldOut, works: NDArray[np.float32]) -> Scores:
    """Each part has length 1, so the cosine of joined features is the mean of the parts' cosines."""
    slices = held_out.parts.slices()
    cosines = [held_out.queries[:, slices[part]] @ works[:, slices[part]].T for part in _RAW_PARTS[name]]
    mean: Scores = np.mean(cosines, axis=0)
    return mean


def _agreement(name: str, scores: Scores, influence: NDArray[np.float32], seed: int) -> MethodAgreement:
    pairs = list(zip(scores, influence, strict=True))
    ndcg = np.array([ndcg_at_k(values, truth, _NDCG_DEPTH) for values, truth in pairs])
    recall = [recall_at_k(values, truth, _RECALL_DEPTH) for values, truth in pairs]
    correlation = [spearman(values, truth) for values, truth in pairs]
    return MethodAgreement(
        name,
        ndcg100=bootstrap_mean(ndcg, seed=seed),
        recall10=bootstrap_mean(recall, seed=seed),
        rank_correlation=bootstrap_mean(correlation, seed=seed),
        ndcg100_by_query=ndcg,
    )


def best_raw(methods: Mapping[str, MethodAgreement]) -> MethodAgreement:
    """The raw feature with the highest nDCG@100."""
    return max((methods[name] for name in RAW), key=lambda method: method.ndcg100.value)


def _agreement_figures(methods: Mapping[str, MethodAgreement], seed: int) -> dict[str, Estimate]:
    ours, raw = methods[OURS], best_raw(methods)
    gain = paired_difference(ours.ndcg100_by_query, raw.ndcg100_by_query, seed=seed)
    figures = {
        "ndcg100": ours.ndcg100,
        "recall10": ours.recall10,
        "ndcg100_best_raw": raw.ndcg100,
        "ndcg100_gain": gain,
        "ndcg100_gain_low": Estimate.certain(gain.low),
    }
    if CEILING in methods:
        ceiling = methods[CEILING].ndcg100
        figures["ndcg100_ceiling"] = ceiling
        figures["ndcg100_of_ceiling"] = Estimate(
            *(bound / ceiling.value for bound in (ours.ndcg100.value, ours.ndcg100.low, ours.ndcg100.high))
        )
    return figures


def _calibration_figures(cosines: Scores, relative: NDArray[np.float32], seed: int) -> dict[str, Estimate]:
    check = check_calibration(cosines, relative, seed=seed, fit=fit_shares)
    return {
        "calibration_total_ratio": Estimate.certain(check.total_ratio),
        "calibration_error": Estimate.certain(check.error),
        "remainder": Estimate.certain(check.remainder),
        "remainder_true": Estimate.certain(check.remainder_true),
    }


def _decoy_figures(
    encoder: Encoder, held_out: HeldOut, methods: tuple[MethodAgreement, ...], seed: int
) -> dict[str, Estimate]:
    """Share of the credit that goes to decoys indexed like works: by encoder, raw similarity and teacher."""
    if held_out.decoys is None:
        return {}
    queries = encoder.encode_features(held_out.queries, Side.QUERY)
    raw = best_raw({method.name: method for method in methods}).name
    cosines = {
        "decoy_share": (
            encoder_cosines(encoder, held_out),
            queries @ encoder.encode_features(held_out.decoys, Side.WORK).T,
        ),
        "decoy_share_similarity": (
            _raw_cosines(raw, held_out, held_out.works),
            _raw_cosines(raw, held_out, held_out.decoys),
        ),
    }
    shares = {
        name: _decoy_shares(*_expected(fit_calibration(works, held_out.relative), works, decoys))
        for name, (works, decoys) in cosines.items()
    }
    if held_out.decoy_influence is not None:
        shares["decoy_share_teacher"] = _decoy_shares(held_out.influence, held_out.decoy_influence)
    return {name: bootstrap_mean(values, seed=seed) for name, values in shares.items()}


def _expected(
    calibration: Calibration, works: Scores, decoys: Scores
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return calibration.expected_influence(works), calibration.expected_influence(decoys)


def _decoy_shares(works: NDArray[np.floating], decoys: NDArray[np.floating]) -> NDArray[np.float64]:
    """Decoys' share of each query's positive influence: (H,); 0 for queries without positive influence."""
    of_works, of_decoys = (np.maximum(part, 0.0).sum(axis=1, dtype=np.float64) for part in (works, decoys))
    total = of_works + of_decoys
    shares: NDArray[np.float64] = np.divide(of_decoys, total, out=np.zeros_like(total), where=total > 0.0)
    return shares
