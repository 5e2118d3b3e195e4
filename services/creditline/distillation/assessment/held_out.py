"""What a release is worth.

Agreement with the teacher on held-out queries, beside raw features, chance and ceiling.
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
    """Held-out queries and all works as features, with the teacher's influence.

    queries: (H, F); works: (N, F); influence: (H, N); influence_repeat: the same labels with other noise;
    decoys: (D, F) features of pictures the generator never saw, with decoy_influence (H, D).
    """

    queries: NDArray[np.float32]
    works: NDArray[np.float32]
    influence: NDArray[np.float32]
    parts: Parts
    influence_repeat: NDArray[np.float32] | None = None
    decoys: NDArray[np.float32] | None = None
    decoy_influence: NDArray[np.float32] | None = None

    @functools.cached_property
    def relative(self) -> NDArray[np.float32]:
        """Each work's influence as a part of its query's positive influence: (H, N)."""
        return relative_influence(self.influence)


@dataclass(frozen=True, eq=False)
class MethodAgreement:
    """A method's agreement with the teacher; `ndcg100_by_query`: (H,)."""

    name: str
    ndcg100: Estimate
    recall10: Estimate
    rank_correlation: Estimate
    ndcg100_by_query: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Assessment:
    """Agreement by method, and figures by the names that the benchmark gives them (without `encoder.`)."""

    methods: tuple[MethodAgreement, ...]
    figures: Mapping[str, Estimate]

    def method(self, name: str) -> MethodAgreement:
        """One method's agreement, by its name."""
        return next(method for method in self.methods if method.name == name)


def assess(encoder: Encoder, held_out: HeldOut, *, seed: int) -> Assessment:
    """Measure an encoder on queries that it was not trained on."""
    methods = method_agreements(encoder, held_out, seed=seed)
    figures = {
        **_agreement_figures({method.name: method for method in methods}, seed),
        **_decoy_figures(encoder, held_out, methods, seed),
        **_calibration_figures(encoder_cosines(encoder, held_out), held_out.relative, seed),
    }
    return Assessment(methods, figures)


def method_agreements(encoder: Encoder, held_out: HeldOut, *, seed: int) -> tuple[MethodAgreement, ...]:
    """The encoder, raw features, chance, and the teacher itself where it labelled twice."""
    scores = {OURS: encoder_cosines(encoder, held_out), **raw_cosines(held_out)}
    scores[RANDOM] = np.random.default_rng(seed).random(held_out.influence.shape, dtype=np.float32)
    if held_out.influence_repeat is not None:
        scores[CEILING] = held_out.influence_repeat
    return tuple(_agreement(name, given, held_out.influence, seed) for name, given in scores.items())


def encoder_cosines(encoder: Encoder, held_out: HeldOut) -> Scores:
    """(H, N) float32."""
    works = encoder.encode_features(held_out.works, Side.WORK)
    cosines: Scores = encoder.encode_features(held_out.queries, Side.QUERY) @ works.T
    return cosines


def raw_cosines(held_out: HeldOut) -> dict[str, Scores]:
    """Cosines of the features as they are: each part, and all joined; each (H, N) float32."""
    return {name: _raw_cosines(name, held_out, held_out.works) for name in RAW}


def _raw_cosines(name: str, held_out: HeldOut, works: NDArray[np.float32]) -> Scores:
    """Each part is of length 1, so the joined features' cosine is the mean of the parts'."""
    slices = held_out.parts.slices()
    cosines = [held_out.queries[:, slices[part]] @ works[:, slices[part]].T for part in _RAW_PARTS[name]]
    mean: Scores = np.mean(cosines, axis=0)
    return mean


def _agreement(name: str, scores: Scores, influence: NDArray[np.float32], seed: int) -> MethodAgreement:
    pairs = list(zip(scores, influence, strict=True))
    ndcg = np.array([ndcg_at_k(given, truth, _NDCG_DEPTH) for given, truth in pairs])
    recall = [recall_at_k(given, truth, _RECALL_DEPTH) for given, truth in pairs]
    correlation = [spearman(given, truth) for given, truth in pairs]
    return MethodAgreement(
        name,
        ndcg100=bootstrap_mean(ndcg, seed=seed),
        recall10=bootstrap_mean(recall, seed=seed),
        rank_correlation=bootstrap_mean(correlation, seed=seed),
        ndcg100_by_query=ndcg,
    )


def best_raw(methods: Mapping[str, MethodAgreement]) -> MethodAgreement:
    """The raw feature that agrees best with the teacher."""
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
    check = check_calibration(cosines, relative, seed=seed)
    return {
        "calibration_total_ratio": Estimate.certain(check.total_ratio),
        "calibration_error": Estimate.certain(check.error),
        "remainder": Estimate.certain(check.remainder),
        "remainder_true": Estimate.certain(check.remainder_true),
    }


def _decoy_figures(
    encoder: Encoder, held_out: HeldOut, methods: tuple[MethodAgreement, ...], seed: int
) -> dict[str, Estimate]:
    """Which part of the credit goes to decoys, indexed like works.

    By the encoder, by likeness, by the teacher.
    """
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
    """The decoys' part of the positive influence of each query: (H,); 0 where there is none."""
    on_works, on_decoys = (np.maximum(part, 0.0).sum(axis=1, dtype=np.float64) for part in (works, decoys))
    total = on_works + on_decoys
    shares: NDArray[np.float64] = np.divide(on_decoys, total, out=np.zeros_like(total), where=total > 0.0)
    return shares
