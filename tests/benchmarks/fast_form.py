"""The fast form of answers on the reference corpus: a release's encoder and its calibration, by the teacher.

`python -m tests.benchmarks.fast_form` adds to `distillation.json` (minutes); with `--beside DIR`, rows of an
earlier release stand beside the packaged one's. The teacher has no text member; rows show what the agreement
was while it had one. Calibrations are fitted on one half of the held-out pictures and looked at on the other,
both ways.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.holders import Holders
from creditline.calibration.intervals import AnswerIntervals
from creditline.distillation.assessment.calibration_fitting import fit_calibration
from creditline.distillation.assessment.held_out import HeldOut, encoder_cosines, raw_cosines
from creditline.distillation.assessment.queries import held_out_queries
from creditline.distillation.assessment.softmax_fitting import fit_shares
from creditline.distillation.assessment.uncertainty import fit_answer_intervals
from creditline.distillation.labels.label_set import (
    HELD_OUT,
    TRANSFER,
    LabelledQuery,
    LabelSet,
    read_labels,
)
from creditline.distillation.training.feature_store import FeatureStore
from creditline.encoder.encoder import Encoder, Side
from creditline.evaluation.bootstrap import Estimate, bootstrap_mean
from creditline.generator.reference import reference_corpus
from creditline.release import ENCODER, open_release
from creditline.release.manifest import packaged_release_directory
from creditline.towers.towers import Towers
from tests.benchmarks.distillation import FEATURES
from tests.benchmarks.distillation_reference import (
    LABELS,
    SEED,
    TRANSFER_LABELS,
    crossed,
    fitted_warmth,
    ndcg_by_query,
    shares,
    softmax_shares,
    variation,
)
from tests.benchmarks.label_members import with_text
from tests.benchmarks.result_files import Figure, write_result
from tests.benchmarks.wrong_prompts import WRONG_LABELS, found_in_first, judged_works, pairs

COMMAND = "python -m tests.benchmarks.fast_form"
_LISTED = 10

Cosines = NDArray[np.float32]
ByQuery = NDArray[np.float64]


@dataclass(frozen=True)
class Bench:
    """Held-out queries with both label sets of a teacher, and queries of another kind."""

    held_out: HeldOut
    with_text: HeldOut
    transfer: HeldOut
    mixed: NDArray[np.bool_]
    """(H,), whether a held-out prompt is of two titles."""
    holders: tuple[Holders, ...]


def open_bench(store: FeatureStore) -> Bench:
    """Read the labels and compute the features."""
    corpus, labels = reference_corpus(), read_labels(LABELS)
    held_out = held_out_queries(labels, corpus, None, store)
    before = held_out_queries(with_text(labels, store, corpus), corpus, None, store)
    transfer = held_out_queries(read_labels(TRANSFER_LABELS), corpus, None, store, TRANSFER)
    captions = {work.caption.casefold() for work in corpus}
    mixed = np.array([prompt.casefold() not in captions for prompt in _prompts(labels)])
    return Bench(held_out, before, transfer, mixed, tuple(work.keyed_holders for work in corpus))


def _prompts(labels: LabelSet) -> list[str]:
    return [labels.queries[int(row)].prompt for row in labels.rows(HELD_OUT)]


def agreement(encoder: Encoder, held_out: HeldOut) -> tuple[ByQuery, ByQuery]:
    """nDCG@100 of each query by the encoder, and by the teacher with other noise: (H,) each."""
    return ndcg_by_query(encoder_cosines(encoder, held_out), held_out.influence), ceiling_of(held_out)


def ceiling_of(held_out: HeldOut) -> ByQuery:
    """nDCG@100 of each query by the teacher with other noise: (H,)."""
    assert held_out.influence_repeat is not None
    return ndcg_by_query(held_out.influence_repeat, held_out.influence)


def of_ceiling(ours: ByQuery, ceiling: ByQuery) -> Estimate:
    """Ratio of means, with an interval over queries of its numerator."""
    mean, scale = bootstrap_mean(ours, seed=SEED), float(ceiling.mean())
    return Estimate(mean.value / scale, mean.low / scale, mean.high / scale)


def agreement_figures(bench: Bench, encoder: Encoder) -> dict[str, Figure]:
    """All held-out queries, and those of two titles and of one caption apart."""
    ours, ceiling = agreement(encoder, bench.held_out)
    kinds = {
        "ndcg100_of_ceiling": (ours, np.ones_like(bench.mixed), ">= 0.85", "labels without the text member"),
        "mixed_of_ceiling": (ours, bench.mixed, ">= 0.8", "the same on prompts of two titles"),
        "single_of_ceiling": (ours, ~bench.mixed, None, "the same on prompts of one caption"),
    }
    return ceiling_figures(ceiling, kinds)


def ceiling_figures(
    ceiling: ByQuery, wanted: Mapping[str, tuple[ByQuery, NDArray[np.bool_], str | None, str]]
) -> dict[str, Figure]:
    """Figures over the ceiling: by key the agreement, the queries, the target, and what it is."""
    return {
        key: _figure(
            of_ceiling(ours[rows], ceiling[rows]), target, what=f"nDCG@100 over the ceiling's: {what}"
        )
        for key, (ours, rows, target, what) in wanted.items()
    }


def rows(bench: Bench, encoders: dict[str, Encoder]) -> list[dict[str, object]]:
    """Every encoder by both teachers."""
    found: list[dict[str, object]] = []
    for name, encoder in encoders.items():
        for teacher, held_out in (("with", bench.with_text), ("without", bench.held_out)):
            ours, ceiling = agreement(encoder, held_out)
            mean, ratio = bootstrap_mean(ours, seed=SEED), of_ceiling(ours, ceiling)
            found.append(
                {
                    "reference": f"{name}, by the teacher {teacher} text",
                    "ndcg100": mean.value,
                    "ndcg100_low": mean.low,
                    "ndcg100_high": mean.high,
                    "of_ceiling": ratio.value,
                }
            )
    return found


def share_figures(bench: Bench, encoder: Encoder) -> dict[str, Figure]:
    """Total variation between shares and the teacher's: ours as served, and every raw feature's softmax."""
    held_out = bench.held_out
    cosines, truth = encoder_cosines(encoder, held_out), shares(held_out.influence)

    def served(fitting: NDArray[np.intp], looking: NDArray[np.intp]) -> ByQuery:
        return fit_shares(cosines[fitting], held_out.relative[fitting]).of_queries(cosines[looking])[1]

    def by_curve(fitting: NDArray[np.intp], looking: NDArray[np.intp]) -> ByQuery:
        curve = fit_calibration(cosines[fitting], held_out.relative[fitting])
        return curve.expected_positive(cosines[looking])

    def softmax_error(raw: Cosines) -> ByQuery:
        def softmax(fitting: NDArray[np.intp], looking: NDArray[np.intp]) -> ByQuery:
            return softmax_shares(raw[looking], fitted_warmth(raw[fitting], truth[fitting]))

        return variation(crossed(held_out, softmax), truth)

    ours = variation(shares(crossed(held_out, served)), truth)
    curve = variation(shares(crossed(held_out, by_curve)), truth)
    by_raw = {name: softmax_error(raw) for name, raw in raw_cosines(held_out).items()}
    best = min(by_raw, key=lambda name: float(by_raw[name].mean()))
    assert held_out.influence_repeat is not None
    again = variation(shares(held_out.influence_repeat), truth)
    return {
        "share_error_over_best_raw": _figure(
            _ratio(ours, by_raw[best]), "<= 0.85", f"error of shares over that of the softmax of {best}"
        ),
        "share_error_served": _figure(
            bootstrap_mean(ours, seed=SEED), None, "total variation between shares and the teacher's"
        ),
        "share_error_by_curve": _figure(
            bootstrap_mean(curve, seed=SEED), None, "the same by an isotonic curve over cosines"
        ),
        "share_error_best_raw": _figure(
            bootstrap_mean(by_raw[best], seed=SEED), None, f"the same by the softmax of {best}"
        ),
        "share_error_of_teacher": _figure(
            bootstrap_mean(again, seed=SEED), None, "the same by the teacher with other noise"
        ),
    }


def _ratio(first: ByQuery, second: ByQuery) -> Estimate:
    """Ratio of two means over the same queries, resampled together."""
    random = np.random.default_rng(SEED)
    drawn = random.integers(len(first), size=(1000, len(first)))
    low, high = np.quantile(first[drawn].mean(axis=1) / second[drawn].mean(axis=1), [0.025, 0.975])
    return Estimate(float(first.mean() / second.mean()), float(low), float(high))


@dataclass(frozen=True)
class Ranges:
    """Of each query's listed works: whether ranges are withheld, (Q,), and the part that hold, NaN then."""

    withheld: NDArray[np.bool_]
    held: ByQuery

    @property
    def held_or_withheld(self) -> ByQuery:
        return np.where(self.withheld, 1.0, self.held)


def ranges(intervals: AnswerIntervals, cosines: Cosines, relative: Cosines) -> Ranges:
    """The ranges of the ten nearest works of each query."""
    held = np.full(len(cosines), np.nan)
    for number, (row, truth) in enumerate(zip(cosines, relative, strict=True)):
        fitting = intervals.for_query(float(row.max()))
        if fitting is not None:
            listed = np.argsort(-row)[:_LISTED]
            low, high = fitting.works.of(row[listed])
            held[number] = float(((low <= truth[listed]) & (truth[listed] <= high)).mean())
    return Ranges(np.isnan(held), held)


def range_figures(bench: Bench, encoder: Encoder) -> dict[str, Figure]:
    """Ranges of listed works under two shifts of prompts, and on usual queries."""
    held_out, mixed = bench.held_out, bench.mixed
    cosines, relative = encoder_cosines(encoder, held_out), held_out.relative

    def fitted(chosen: NDArray[np.intp]) -> AnswerIntervals:
        return fit_answer_intervals(cosines[chosen], relative[chosen], bench.holders, seed=SEED)

    everything, captions = np.arange(len(cosines)), np.flatnonzero(~mixed)
    strange = ranges(fitted(everything), encoder_cosines(encoder, bench.transfer), bench.transfer.relative)
    titles = ranges(fitted(captions), cosines[mixed], relative[mixed])
    usual = crossed(
        held_out, lambda fitting, looking: _both(fitted(fitting), cosines[looking], relative[looking])
    )
    either = [strange.held_or_withheld, titles.held_or_withheld]
    worst = min(either, key=lambda values: float(values.mean()))
    figures = {
        "shifted_coverage": _figure(
            _spanning(worst),
            ">= 0.85",
            "listed works in 90 % ranges that hold, or withheld: the worse of prompts of another style with"
            " no work near, and prompts of two titles by ranges that were fitted on captions only",
        ),
    }
    shifts = {
        "strange": (strange, "prompts of another style, to which no work is near"),
        "titles": (titles, "prompts of two titles, by ranges fitted on captions only"),
        "usual": (Ranges(np.isnan(usual), usual), "held-out queries, by the other half"),
        "mixed": (Ranges(np.isnan(usual[mixed]), usual[mixed]), "those of two titles among them"),
    }
    for name, (found, what) in shifts.items():
        withheld = _spanning(found.withheld.astype(np.float64))
        figures[f"ranges_withheld_{name}"] = _figure(withheld, None, f"answers without ranges: {what}")
        given = found.held[~found.withheld]
        if len(given):
            figures[f"ranges_held_{name}"] = _figure(
                _spanning(given), None, f"listed works in their ranges where they are given: {what}"
            )
    return figures


def wrong_prompt_figures(encoder: Encoder, store: FeatureStore) -> dict[str, Figure]:
    """Works as queries with a wrong prompt: whether the own work is among the first ten, ours and theirs.

    Without the teacher's labels of these queries, only how often ours finds it.
    """
    corpus = reference_corpus()
    listed = [pair for pair in pairs(read_labels(LABELS), corpus) if pair.split == HELD_OUT]
    own = judged_works(listed)
    queries = store.queries([LabelledQuery(pair.picture, pair.prompt, 0, 0.0, HELD_OUT) for pair in listed])
    vectors = encoder.encode_features(queries, Side.QUERY)
    scores = vectors @ encoder.encode_features(store.works(corpus), Side.WORK).T
    ours = found_in_first(scores, own, _LISTED)
    figures = {
        "wrong_prompt_found_by_us": _figure(
            _spanning(ours), None, "works as queries with a wrong prompt: own work in the first 10"
        )
    }
    if not (WRONG_LABELS / "label-set.json").is_file():
        return figures
    labels = read_labels(WRONG_LABELS)
    rows = labels.rows(HELD_OUT)
    assert [labels.queries[int(row)].prompt for row in rows] == [pair.prompt for pair in listed]
    theirs = found_in_first(labels.influence[rows], own, _LISTED)
    return figures | {
        "wrong_prompt_found": _figure(
            _ratio(ours, theirs), ">= 0.9", f"the same over the teacher's own rate ({labels.teacher})"
        ),
        "wrong_prompt_found_by_teacher": _figure(_spanning(theirs), None, "the teacher's own rate"),
    }


def _both(intervals: AnswerIntervals, cosines: Cosines, relative: Cosines) -> ByQuery:
    return ranges(intervals, cosines, relative).held


def _spanning(values: ByQuery) -> Estimate:
    """The mean; where all queries have the same value, an interval that one more query could move it to."""
    found = bootstrap_mean(values, seed=SEED)
    if found.low < found.high:
        return found
    # Clopper and Pearson's 95 % bound for a part that is 0 or 1 in every one of n queries.
    far = 0.025 ** (1.0 / len(values))
    return Estimate(found.value, far, 1.0) if found.value > 0.5 else Estimate(found.value, 0.0, 1.0 - far)


def _figure(estimate: Estimate, target: str | None, what: str) -> Figure:
    return Figure(estimate.value, low=estimate.low, high=estimate.high, target=target, what=what)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", type=Path, default=packaged_release_directory())
    parser.add_argument(
        "--beside", type=Path, action="append", default=[], help="another release, in rows only"
    )
    given = parser.parse_args()
    directory: Path = given.release
    store = FeatureStore(Towers.open(), FEATURES, print)
    bench = open_bench(store)
    encoders = {open_release(each).name: Encoder.load(each / ENCODER) for each in (*given.beside, directory)}
    encoder = encoders[open_release(directory).name]
    figures = {
        **agreement_figures(bench, encoder),
        **share_figures(bench, encoder),
        **range_figures(bench, encoder),
        **wrong_prompt_figures(encoder, store),
    }
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.4f} ({figure.low} to {figure.high}) {figure.target or ''}", flush=True)
    write_result("distillation", COMMAND, SEED, figures, rows(bench, encoders), merge=True)


if __name__ == "__main__":
    main()
