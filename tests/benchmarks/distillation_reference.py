"""Part of `make distill-figures`: students and calibration on the reference corpus, against their teacher.

Adds to `distillation.json` and writes `calibration.json`. The labels are those of the consensus of gradients,
as expected ΔL, on pictures of the reference generator; held-out pictures share no prompt with those that are
learnt from. Calibration is fitted on one half of the held-out pictures and looked at on the other, both ways.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score

from creditline.calibration.concentration import concentration
from creditline.distillation.assessment.calibration_fitting import fit_calibration, relative_influence
from creditline.distillation.assessment.held_out import HeldOut, encoder_cosines, raw_cosines
from creditline.distillation.assessment.interval_fitting import fit_intervals
from creditline.distillation.assessment.queries import held_out_queries
from creditline.distillation.labels.common_scale import on_common_scale
from creditline.distillation.labels.label_set import TRAIN, TRANSFER, read_labels
from creditline.distillation.training.feature_store import FeatureStore
from creditline.distillation.training.fitting import Examples, Trained, train_encoder
from creditline.distillation.training.recipes import OURS, PAPER, RECIPES
from creditline.encoder.encoder import Encoder, Side
from creditline.encoder.ood import OodDetector
from creditline.evaluation.agreement import ndcg_at_k, spearman
from creditline.evaluation.bootstrap import Estimate, bootstrap_mean, paired_difference
from creditline.generator.reference import reference_corpus, reference_decoys
from creditline.towers.towers import Towers
from tests.benchmarks.answer_intervals import answer_figures
from tests.benchmarks.decoys import auroc, membership_probabilities
from tests.benchmarks.distillation import FEATURES, LAB_LABELS
from tests.benchmarks.distillation_plots import plot_reliability
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "python -m tests.benchmarks.distillation_reference"
LABELS = Path(__file__).resolve().parent / "reference-labels"
# Pictures to whose prompts no work is close.
TRANSFER_LABELS = LABELS.with_name("transfer-labels")
SEED = 17
_DEPTH = 100
_SPEED = (500, 400)


@dataclass(frozen=True)
class Bench:
    """train: what is learnt from; held_out: with repeated labels and decoys; transfer: of another kind."""

    train: Examples
    held_out: HeldOut
    transfer: HeldOut


def open_bench(store: FeatureStore) -> Bench:
    """Read the labels and compute the features."""
    labels, corpus = on_common_scale(read_labels(LABELS)), reference_corpus()
    rows = labels.rows(TRAIN)
    train = Examples(
        store.queries(labels.queries)[rows], store.works(corpus), labels.influence[rows], store.towers.parts
    )
    other = held_out_queries(read_labels(TRANSFER_LABELS), corpus, None, store, TRANSFER)
    return Bench(train, held_out_queries(labels, corpus, reference_decoys(), store), other)


def ndcg_by_query(scores: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """(H,)"""
    return np.array([ndcg_at_k(ours, theirs, _DEPTH) for ours, theirs in zip(scores, truth, strict=True)])


def agreement_figures(
    bench: Bench, ours: Encoder, paper: Encoder
) -> tuple[dict[str, Figure], list[dict[str, object]]]:
    """How far students and raw features agree with the teacher."""
    held_out = bench.held_out
    assert held_out.influence_repeat is not None
    scores = {
        "teacher again": held_out.influence_repeat,
        OURS: encoder_cosines(ours, held_out),
        PAPER: encoder_cosines(paper, held_out),
        **raw_cosines(held_out),
        "random": np.random.default_rng(SEED).random(held_out.influence.shape),
    }
    narrow = {f"{OURS}, {width} numbers": ours.truncated(width) for width in RECIPES[OURS].nested}
    scores |= {name: encoder_cosines(encoder, held_out) for name, encoder in narrow.items()}
    by_query = {name: ndcg_by_query(values, held_out.influence) for name, values in scores.items()}
    means = {name: bootstrap_mean(values, seed=SEED) for name, values in by_query.items()}
    ceiling = means["teacher again"].value
    gain = paired_difference(by_query[OURS], by_query[PAPER], seed=SEED)
    raw = max((name for name in means if name.startswith("raw")), key=lambda name: means[name].value)
    at_256 = means[f"{OURS}, 256 numbers"].value
    figures = {
        "ndcg100_ceiling": _figure(means["teacher again"], None, "that agreement"),
        "ndcg100_raw_of_ceiling": Figure(means[raw].value / ceiling, what=f"the same of {raw}"),
        "minus_paper_recipe_low": Figure(
            gain.low, target="> 0", what="lower end of ours − the paper's recipe, same labels, nDCG@100"
        ),
        "loss_at_256": Figure(
            1.0 - at_256 / means[OURS].value, target="<= 0.01", what="nDCG@100 lost at 256 of 768 numbers"
        ),
    }
    rows: list[dict[str, object]] = [
        {
            "reference": name,
            "ndcg100": estimate.value,
            "ndcg100_low": estimate.low,
            "ndcg100_high": estimate.high,
            "of_ceiling": estimate.value / ceiling,
        }
        for name, estimate in means.items()
    ]
    return figures, rows


def _figure(estimate: Estimate, target: str | None, what: str) -> Figure:
    return Figure(estimate.value, low=estimate.low, high=estimate.high, target=target, what=what)


def training_speed(bench: Bench) -> Figure:
    """Our recipe on 500 queries × 400 works."""
    queries, works = _SPEED
    few = dataclasses.replace(
        bench.train,
        queries=bench.train.queries[:queries],
        works=bench.train.works[:works],
        influence=bench.train.influence[:queries, :works],
    )
    trained = train_encoder(few, [RECIPES[OURS]], seed=SEED)
    return Figure(
        trained.seconds / 60, "min", target="<= 5", what=f"training on {queries} queries × {works} works"
    )


def crossed(
    held_out: HeldOut, one_way: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """What is fitted on each half of the queries, looked at on the other: by query, in order."""
    order = np.random.default_rng(SEED).permutation(len(held_out.queries))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    found: dict[int, NDArray[np.float64]] = {}
    for fitting, looking in (halves, halves[::-1]):
        found.update(zip(looking.tolist(), one_way(fitting, looking), strict=True))
    return np.stack([found[row] for row in range(len(order))])


def shares(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each query's positive values as parts of their sum: (Q, N)."""
    positive = np.maximum(values, 0.0).astype(np.float64)
    return positive / np.maximum(positive.sum(axis=1, keepdims=True), 1e-30)


def variation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Total variation between two ways to share, by query: (Q,)."""
    found: NDArray[np.float64] = np.abs(first - second).sum(axis=1) / 2
    return found


def softmax_shares(cosines: NDArray[np.floating], warmth: float) -> NDArray[np.float64]:
    """exp(cosine / warmth), as parts of the sum."""
    return shares(np.exp((cosines - cosines.max(axis=1, keepdims=True)) / warmth))


def fitted_warmth(cosines: NDArray[np.floating], truth: NDArray[np.float64]) -> float:
    """The temperature whose shares are nearest to the teacher's."""
    found = minimize_scalar(
        lambda log: variation(softmax_shares(cosines, float(np.exp(log))), truth).mean(),
        bounds=(-7.0, 1.0),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibration_figures(bench: Bench, encoder: Encoder) -> dict[str, Figure]:
    """Coverage, shares, concentration."""
    held_out = bench.held_out
    cosines, relative = encoder_cosines(encoder, held_out), relative_influence(held_out.influence)
    truth, raw = shares(held_out.influence), raw_cosines(held_out)["raw joined"]

    def covered(fitting: NDArray[np.intp], looking: NDArray[np.intp]) -> NDArray[np.float64]:
        low, high = fit_intervals(cosines[fitting], relative[fitting], seed=SEED).of(cosines[looking])
        return ((low <= relative[looking]) & (relative[looking] <= high)).astype(np.float64)

    def expected(fitting: NDArray[np.intp], looking: NDArray[np.intp]) -> NDArray[np.float64]:
        return fit_calibration(cosines[fitting], relative[fitting]).expected_influence(cosines[looking])

    def softmax(fitting: NDArray[np.intp], looking: NDArray[np.intp]) -> NDArray[np.float64]:
        return softmax_shares(raw[looking], fitted_warmth(raw[fitting], truth[fitting]))

    inside, ours = crossed(held_out, covered), shares(crossed(held_out, expected))
    plot_reliability(ours, truth)
    overall = bootstrap_mean(inside.mean(axis=1), seed=SEED)
    fifths = [inside.ravel()[rows].mean() for rows in np.array_split(np.argsort(cosines.ravel()), 5)]
    error = variation(ours, truth)
    others = variation(crossed(held_out, softmax), truth)
    agreed = spearman(concentration(ours), concentration(truth))
    return {
        "coverage": _figure(overall, "0.87..0.93", "of the 90 % bands: works of queries not seen before"),
        "coverage_worst_quintile": Figure(
            float(min(fifths)), target=">= 0.8", what="the same in the worst fifth of works by cosine"
        ),
        "share_error": _figure(
            bootstrap_mean(error, seed=SEED), None, "total variation between our shares and the teacher's"
        ),
        "share_error_over_softmax": Figure(
            float(error.mean() / others.mean()),
            target="<= 0.5",
            what="the same over that of a softmax of raw cosines with a fitted temperature",
        ),
        "concentration_spearman": Figure(
            agreed, target=">= 0.7", what="our concentration against the teacher's, over queries"
        ),
    }


def unfamiliar_figures(bench: Bench, store: FeatureStore) -> dict[str, Figure]:
    """Generated pictures against real ones that no generator made, another generator's, and noise.

    What is usual is learnt from training queries and half of the held-out ones; the other half is looked at.
    """
    image, held_out = bench.train.parts.slices()["image"], bench.held_out
    assert held_out.decoys is not None
    usual, looked_at = np.array_split(np.random.default_rng(SEED).permutation(len(held_out.queries)), 2)
    ood_detector = OodDetector.of(bench.train.queries[:, image], held_out.queries[usual][:, image])
    generated = ood_detector.ood_score(held_out.queries[looked_at][:, image])
    random = np.random.default_rng(SEED)
    pixels = random.integers(0, 256, (len(generated) // 2, 64, 64, 3), dtype=np.uint8)
    noise = [Image.fromarray(picture) for picture in pixels]
    foreign = {
        "unfamiliar_auroc": (held_out.decoys, ">= 0.9", "generated against real pictures"),
        "unfamiliar_auroc_noise": (
            store.towers.features(noise, ["noise"] * len(noise)),
            None,
            "generated pictures against noise",
        ),
        "unfamiliar_auroc_other_generator": (
            store.queries(read_labels(LAB_LABELS).queries),
            None,
            "against pictures of the lab's generator, which was trained on some of the same works",
        ),
    }
    found = {
        "unfamiliar_false_alarms": Figure(
            float((generated > 1.0).mean()), what="generated pictures that are called unfamiliar"
        )
    }
    for key, (features, target, what) in foreign.items():
        distances = ood_detector.ood_score(features[:, image])
        found[key] = Figure(_auroc(generated, distances), target=target, what=what)
    return found


def _auroc(usual: NDArray[np.float64], foreign: NDArray[np.float64]) -> float:
    labels = [0] * len(usual) + [1] * len(foreign)
    return float(roc_auc_score(labels, np.concatenate([usual, foreign])))


def decoy_figures(bench: Bench, encoder: Encoder) -> tuple[dict[str, Figure], list[dict[str, object]]]:
    """Which part of the credit goes to works that were never trained on, beside raw similarity.

    Ours counts a work's expected influence by the probability that the generator was trained on it, which its
    own losses tell; likeness alone cannot. Raw similarity is weighed the same way as a control.
    """
    held_out = bench.held_out
    assert held_out.decoys is not None
    queries = encoder.encode_features(held_out.queries, Side.QUERY)
    raw = raw_cosines(dataclasses.replace(held_out, works=held_out.decoys))["raw joined"]
    ours = _expected_both(
        held_out,
        encoder_cosines(encoder, held_out),
        queries @ encoder.encode_features(held_out.decoys, Side.WORK).T,
    )
    similar = _expected_both(held_out, raw_cosines(held_out)["raw joined"], raw)
    even = membership_probabilities()
    found = {
        "ours": ours,
        "raw": similar,
        **{f"ours, {name}": _weighed(ours, membership_probabilities(odds)) for name, odds in _odds().items()},
        "raw, own losses": _weighed(similar, even),
    }
    rows = [_decoy_row(name, both, similar, ours, held_out) for name, both in found.items()]
    best, bare = _part_of_second(*found["ours, own losses"]), _part_of_second(*similar)
    ndcg = ndcg_by_query(found["ours, own losses"][0], held_out.influence) - ndcg_by_query(
        ours[0], held_out.influence
    )
    by_cosine = float(_part_of_second(*ours).mean())
    figures = {
        "decoy_share": _figure(
            bootstrap_mean(best, seed=SEED),
            None,
            "credit that goes to decoys, works weighed by their own losses",
        ),
        "decoy_share_raw": _figure(bootstrap_mean(bare, seed=SEED), None, "the same by raw similarity"),
        "decoy_share_ratio": Figure(
            float(best.mean() / bare.mean()),
            target="<= 0.9",
            what="credit to decoys, ours over raw similarity's (1: cannot tell)",
        ),
        "decoy_share_ratio_by_cosine": Figure(
            by_cosine / float(bare.mean()), what="the same without own losses"
        ),
        "membership_auroc": Figure(auroc(*even), what="own losses: works against decoys"),
        "ndcg100_by_own_losses": _figure(
            bootstrap_mean(ndcg, seed=SEED), None, "what weighing by own losses adds to nDCG@100 (works only)"
        ),
    }
    return figures, rows


def _odds() -> dict[str, float]:
    """Members over strangers before any loss is seen: evenly, six to one, and as they really are here."""
    truly = len(reference_corpus()) / len(reference_decoys())
    return {"own losses": 1.0, "own losses, odds 6": 6.0, f"own losses, odds {truly:.1f}": truly}


def _weighed(
    both: tuple[NDArray[np.float64], NDArray[np.float64]],
    weights: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return both[0] * weights[0], both[1] * weights[1]


def _decoy_row(
    name: str,
    both: tuple[NDArray[np.float64], NDArray[np.float64]],
    similar: tuple[NDArray[np.float64], NDArray[np.float64]],
    ours: tuple[NDArray[np.float64], NDArray[np.float64]],
    held_out: HeldOut,
) -> dict[str, object]:
    """Credit to decoys, and what the weights cost in agreement with the teacher, works only."""
    part = _part_of_second(*both)
    truth = shares(held_out.influence)
    plain = similar if name.startswith("raw") else ours
    gain = paired_difference(
        ndcg_by_query(both[0], held_out.influence), ndcg_by_query(plain[0], held_out.influence), seed=SEED
    )
    return {
        "credit by": name,
        "decoy_share": float(part.mean()),
        "over_raw": float(part.mean() / _part_of_second(*similar).mean()),
        "ndcg100_gain": gain.value,
        "ndcg100_gain_low": gain.low,
        "share_error": float(variation(shares(both[0]), truth).mean()),
    }


def _expected_both(
    held_out: HeldOut, works: NDArray[np.float32], decoys: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected influence, where positive, of works and of decoys by their cosines."""
    curve = fit_calibration(works, held_out.relative)
    of_works, of_decoys = (np.maximum(curve.expected_influence(given), 0.0) for given in (works, decoys))
    return of_works, of_decoys


def _part_of_second(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    ours, theirs = first.sum(axis=1), second.sum(axis=1)
    part: NDArray[np.float64] = theirs / np.maximum(ours + theirs, 1e-30)
    return part


def trained_by(bench: Bench, name: str) -> Trained:
    trained = train_encoder(bench.train, [RECIPES[name]], seed=SEED)
    print(f"{name}: {trained.validation_ndcg:.3f} on pictures set aside, {trained.seconds:.0f} s", flush=True)
    return trained


def main() -> None:
    store = FeatureStore(Towers.open(), FEATURES, print)
    bench = open_bench(store)
    ours, paper = trained_by(bench, OURS), trained_by(bench, PAPER)
    figures, rows = agreement_figures(bench, ours.encoder, paper.encoder)
    figures["train_minutes"] = training_speed(bench)
    write_result("distillation", COMMAND, SEED, figures, rows, merge=True)
    of_decoys, decoy_rows = decoy_figures(bench, ours.encoder)
    holders = tuple(work.keyed_holders for work in reference_corpus())
    calibration = {
        **calibration_figures(bench, ours.encoder),
        **answer_figures(ours.encoder, bench.held_out, bench.transfer, holders, seed=SEED),
        **unfamiliar_figures(bench, store),
        **of_decoys,
    }
    write_result("calibration", COMMAND, SEED, calibration, decoy_rows)
    for key, figure in {**figures, **calibration}.items():
        print(f"{key}: {figure.value:.4f} {figure.target or ''}")


if __name__ == "__main__":
    main()
