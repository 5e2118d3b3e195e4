"""`make lab`: every method against retraining, from the committed record, scores and kernels (minutes).

Writes `lab.json` and its plot. All rows of a list are judged on the same queries: the list of 48 queries has
every method that scored them, the list of 16 also those that need half a minute a query. Every method takes
the same aids (`judging.aids`): the better noise, λ and sharpening, each chosen on the choosing subsets. The
scores are made by `creditline lab score METHOD... --save DIRECTORY --kernels DIRECTORY`, the record by
`make lab-train`, the consensuses by `creditline lab fit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditline.attribution.attributor import Cost
from creditline.attribution.methods.hyperparameters import CONSENSUSES, OFFERED, SHARPENED
from creditline.attribution.methods.registry import COMMON_NOISE
from creditline.evaluation.bootstrap import Estimate, interval_of
from creditline.evaluation.lab.judging.aids import AidedMethod, aided_method
from creditline.evaluation.lab.judging.comparison import (
    Comparison,
    Draw,
    FittedSum,
    Outcome,
    Sharpening,
    Sum,
    resampled_draws,
    split_draws,
)
from creditline.evaluation.lab.judging.fitting import consensus_scores
from creditline.evaluation.lab.judging.kernels import StoredKernel, read_kernel
from creditline.evaluation.lab.judging.scoring import (
    CHOOSING,
    SEED,
    Judge,
    MethodScores,
    read_all_scores,
    write_scores,
)
from creditline.evaluation.lab.judging.weighting import joined
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.setting import REFERENCE
from tests.benchmarks.lab_plots import plot_scores
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
# Similarities that do not use the model.
SIMILARITY = ("pixels", "image", "text", "joined", "text-sharpened")
OURS = (
    "nda-same-place",
    "trak-relative",
    "influence-noise",
    "influence-noise-attn",
    "influence-relative",
    "abu-plus-relative",
    "abu-plus-attn-relative",
    "abu-plus-skew",
    "abu-plus-fast",
    "abu-plus-attn-fast",
    *CONSENSUSES,
)
RANDOM, TEACHER, BEST = "random", "abu-plus", "consensus-all"
# Sums of all published methods and similarities, by what is sharpened in them.
SUMS: dict[str, Sharpening] = {
    "sum-of-published": "none",
    "sum-of-published-sharpened": "sum",
    "sum-of-sharpened-published": "members",
}
OWN_SUM = "ours"
# Every second and every sixth generated query: those that unlearning methods scored.
LISTS = {48: 2, 16: 6}
RESAMPLES, SPLITS = 500, 100
MARGIN = 1.1
_WILSON = 1.96


def kind_of(name: str) -> str:
    """Whether a method is ours, published, a similarity without the model, or the control."""
    if name == RANDOM:
        return "control"
    return "ours" if name in OURS else "similarity" if name in SIMILARITY else "published"


@dataclass(frozen=True)
class Judged:
    """One method's row in one list."""

    name: str
    kind: str
    queries: int
    generated: Estimate
    """LDS on generated queries with noise and λ chosen, not sharpened."""
    sharpened: float
    """The same with the power chosen, too."""
    power: float
    by_noise: Mapping[str, float]
    """LDS with noise of each picture's own ("own") and with common noise ("common"), at the registry's λ."""
    held_out: Estimate | None
    in_noise_loss: float | None
    cost: Cost
    attainable: float

    def row(self) -> dict[str, Any]:
        held_out = self.held_out
        return {
            "method": self.name,
            "kind": self.kind,
            "queries": self.queries,
            "lds": self.generated.value,
            "lds_low": self.generated.low,
            "lds_high": self.generated.high,
            "lds_of_attainable": self.generated.value / self.attainable,
            "lds_sharpened": self.sharpened,
            "power": self.power,
            "lds_own_noise": self.by_noise.get("own"),
            "lds_common_noise": self.by_noise.get("common"),
            "lds_held_out": None if held_out is None else held_out.value,
            "lds_held_out_low": None if held_out is None else held_out.low,
            "lds_held_out_high": None if held_out is None else held_out.high,
            "lds_in_noise_loss": self.in_noise_loss,
            "seconds_per_query": self.cost.seconds_per_query,
            "passes_per_query": self.cost.passes_per_query,
            "preparation_seconds": self.cost.preparation_seconds,
            "bytes_per_work": self.cost.bytes_per_work,
        }


@dataclass(frozen=True)
class QueryList:
    """Methods that scored the same generated queries."""

    record: LabRecord
    rows: tuple[int, ...]
    scores: Mapping[str, MethodScores]
    methods: Mapping[str, AidedMethod]

    @classmethod
    def of(
        cls,
        record: LabRecord,
        stride: int,
        scores: Mapping[str, MethodScores],
        kernels: Mapping[str, StoredKernel],
    ) -> QueryList:
        """The list of every `stride`-th generated query, with the methods that scored all of them."""
        rows = tuple(record.query_rows("generated")[::stride].tolist())
        covering = {name: one for name, one in scores.items() if set(rows) <= set(one.rows)}
        names = dict.fromkeys(name.removesuffix(COMMON_NOISE) for name in covering)
        methods = {name: aided_method(name, rows, covering, kernels) for name in names}
        return cls(record, rows, covering, methods)

    def named(self, *kinds: str) -> tuple[str, ...]:
        """Names of the methods of some kinds."""
        return tuple(name for name in self.methods if kind_of(name) in kinds)

    @property
    def rivals(self) -> tuple[str, ...]:
        """Every published method and similarity."""
        return self.named("published", "similarity")

    def comparison(self) -> Comparison:
        """Ours, the rivals and the sums of the rivals."""
        sums = [
            *(Sum(name, self.rivals, sharpening) for name, sharpening in SUMS.items()),
            Sum(OWN_SUM, OFFERED[BEST], "sum" if BEST in SHARPENED else "none"),
        ]
        return Comparison(self.record, self.rows, list(self.methods.values()), sums)


def judge_list(listed: QueryList, outcome: Outcome, attainable: float) -> list[Judged]:
    """Every method of a list and the sums of the published ones, the best first."""
    chosen = {name: _chosen_scores(name, listed, outcome) for name in listed.methods}
    chosen |= {name: _sum_scores(name, listed, outcome) for name in SUMS}
    by_noise = Judge(listed.record, "generated").lds_of_all(
        [_on(listed, one) for one in listed.scores.values()]
    )
    noises = dict(zip(listed.scores, by_noise, strict=True))
    estimates = [
        Judge(listed.record, "generated", unit).lds_of_all(list(chosen.values()))
        for unit in ("relative", "noise")
    ]
    held_out = _held_out(listed, outcome)
    judged = []
    for (name, scores), generated, in_noise in zip(chosen.items(), *estimates, strict=True):
        sharp = outcome.sums[name] if name in outcome.sums else outcome.sharpened[name]
        judged.append(
            Judged(
                name=name,
                kind="published" if name in outcome.sums else kind_of(name),
                queries=len(listed.rows),
                generated=generated,
                sharpened=sharp.lds,
                power=sharp.power if isinstance(sharp, FittedSum) else sharp.aid.power,
                by_noise={
                    label: noises[variant].value
                    for label, variant in (("own", name), ("common", f"{name}{COMMON_NOISE}"))
                    if variant in noises
                },
                held_out=held_out.get(name),
                in_noise_loss=in_noise.value,
                cost=scores.cost,
                attainable=attainable,
            )
        )
    return sorted(judged, key=lambda row: -row.generated.value)


def _chosen_scores(name: str, listed: QueryList, outcome: Outcome) -> MethodScores:
    """A method's scores with the noise and the λ that were chosen, not sharpened."""
    aid, method = outcome.plain[name].aid, listed.methods[name]
    base = listed.scores[aid.method]
    return MethodScores(name, listed.rows, method.scores[method.aids.index(aid)], base.cost, base.made_from)


def _sum_scores(name: str, listed: QueryList, outcome: Outcome) -> MethodScores:
    """A sum's scores, with the costs of its members."""
    fitted = outcome.sums[name]
    members = [listed.scores[aid.method] for aid in fitted.weights]
    whole = joined(name, members, [1.0] * len(members))
    values = fitted.scores.astype(np.float32)
    return MethodScores(name, listed.rows, values, whole.cost, whole.made_from)


def _on(listed: QueryList, scores: MethodScores) -> MethodScores:
    """A method's scores of the list's queries alone."""
    values = scores.of_rows(listed.rows).astype(np.float32)
    return MethodScores(scores.method, listed.rows, values, scores.cost, scores.made_from)


def _held_out(listed: QueryList, outcome: Outcome) -> dict[str, Estimate]:
    """LDS on the real queries that every method of the list with real queries scored, by method."""
    real = set(listed.record.query_rows("heldout").tolist())
    found = {name: listed.scores[one.aid.method] for name, one in outcome.plain.items()}
    scored = {name: one for name, one in found.items() if real & set(one.rows)}
    estimates = Judge(listed.record, "heldout").lds_of_all(list(scored.values()))
    return dict(zip(scored, estimates, strict=True))


@dataclass(frozen=True)
class Ratios:
    """Our LDS over that of the best rival, by what the rivals are given."""

    single: float
    """Single published methods and similarities with the better noise and λ."""
    sharpened: float
    """The same, sharpened."""
    everything: float
    """Those and the sums of all of them."""

    @classmethod
    def of(cls, outcome: Outcome, rivals: Sequence[str]) -> Ratios:
        ours = outcome.sums[OWN_SUM].lds
        single, sharp = (outcome.best(rivals, sharp=sharp) for sharp in (False, True))
        sums = max(outcome.sums[name].lds for name in SUMS)
        return cls(ours / single, ours / sharp, ours / max(single, sharp, sums))


@dataclass(frozen=True)
class Ours:
    """Our best method against every rival, over resamples and splits."""

    whole: Ratios
    resampled: list[Ratios]
    splits: list[Ratios]

    @classmethod
    def of(cls, comparison: Comparison, rivals: Sequence[str], subsets: int, queries: int) -> Ours:
        def ratios(draw: Draw) -> Ratios:
            return Ratios.of(comparison.outcome(draw), rivals)

        return cls(
            ratios(comparison.standard),
            [ratios(draw) for draw in resampled_draws(subsets, queries, count=RESAMPLES, seed=SEED)],
            [ratios(draw) for draw in split_draws(subsets, queries, count=SPLITS, seed=SEED)],
        )

    def interval(self, name: str) -> Estimate:
        """A ratio with its interval."""
        return interval_of(getattr(self.whole, name), [getattr(one, name) for one in self.resampled])

    def share(self, name: str) -> Estimate:
        """Part of the splits in which a ratio is at least the margin, with Wilson's interval."""
        return share_of([getattr(one, name) >= MARGIN for one in self.splits])


def share_of(held: Sequence[bool]) -> Estimate:
    """Part of independent trials that hold, with Wilson's 95 % interval."""
    count, part, square = len(held), float(np.mean(held)), _WILSON**2
    middle = (part + square / (2 * count)) / (1 + square / count)
    reach = _WILSON / (1 + square / count)
    reach *= (part * (1 - part) / count + square / (4 * count**2)) ** 0.5
    return Estimate(part, max(0.0, middle - reach), min(1.0, middle + reach))


def figures(listed: QueryList, judged: list[Judged], ours: Ours, ours_16: Ours) -> dict[str, Figure]:
    """The issue's figures, and what stands beside them."""
    judge = Judge(listed.record, "generated")
    by_name = {row.name: row for row in judged}
    best, random = by_name[BEST], by_name[RANDOM].generated
    similar = max((row for row in judged if row.kind == "similarity"), key=lambda row: row.generated.value)
    over_similarity = judge.difference(
        _on(listed, listed.scores[TEACHER]), _on(listed, listed.scores[similar.name])
    )
    everything, single, sharp = (ours.interval(name) for name in ("everything", "single", "sharpened"))
    ceiling, attainable = judge.ceiling(), judge.attainable()
    best_of_attainable = Estimate(
        best.generated.value / attainable.value,
        best.generated.low / attainable.value,
        best.generated.high / attainable.value,
    )
    every_16 = ours_16.interval("everything")
    return {
        "best_over_published_low": Figure(
            everything.low,
            target="> 1",
            what=f"{BEST} over the best of: published, common noise, sharpened, sums of them: lower end of"
            " the ratio's interval (queries and subsets resampled, everything chosen again)",
        ),
        "best_over_published_splits": _figure(
            ours.share("single"),
            ">= 0.9",
            f"share of {SPLITS} random splits in which {BEST} is {MARGIN} times the best single published one"
            " with the better noise and λ",
        ),
        "best_of_attainable": _figure(best_of_attainable, ">= 0.75", f"{BEST} over the attainable maximum"),
        "best_over_everything": _figure(
            everything, None, "the ratio of the first line with its whole interval"
        ),
        "best_over_published": _figure(
            single, None, f"{BEST} over the best single published one, as in the second"
        ),
        "best_over_sharpened": _figure(sharp, None, "the same, sharpened"),
        "best_over_sharpened_splits": _figure(
            ours.share("sharpened"), None, f"share of splits with {MARGIN} over the best sharpened single one"
        ),
        "best_over_everything_splits": _figure(
            share_of([one.everything > 1 for one in ours.splits]),
            None,
            "share of splits above the best of everything, sums included",
        ),
        "best_over_everything_16_queries": _figure(
            every_16, None, "the first ratio on the list of 16 queries, with MUCS and the slow forms of AbU"
        ),
        "attainable": _figure(
            attainable, None, "largest expected LDS against the mean of two seeds, √(2r / (1 + r))"
        ),
        "noise_ceiling": _figure(ceiling, ">= 0.6", "r, what one seed's losses tell of the other's"),
        "random_abs_lds": Figure(
            abs(random.value),
            low=random.low,
            high=random.high,
            target="<= 0.03",
            what="control: random scores (the interval is that of the score, and must cover 0)",
        ),
        "abu_plus_minus_similarity_low": Figure(
            over_similarity.low,
            target="> 0",
            what=f"lower end of AbU+ − best similarity ({similar.name}), same queries",
        ),
        "noise_ceiling_held_out": _figure(Judge(listed.record, "heldout").ceiling(), None, "r, real queries"),
        "noise_ceiling_in_noise_loss": _figure(
            Judge(listed.record, "generated", "noise").ceiling(), None, "r, in the papers' loss"
        ),
        "subsets": Figure(
            len(listed.record.subsets), target=">= 48", what="retrained subsets, each from two seeds"
        ),
        "judging_subsets": Figure(
            len(listed.record.subsets) - CHOOSING, what="whatever a method chooses was chosen on the others"
        ),
    }


def _figure(estimate: Estimate, target: str | None, what: str) -> Figure:
    return Figure(estimate.value, low=estimate.low, high=estimate.high, target=target, what=what)


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    scores = read_all_scores(REFERENCE / "scores", record)
    for name in CONSENSUSES:
        scores[name] = consensus_scores(name, scores)
        write_scores(scores[name], REFERENCE / "scores")
    kernels = {path.stem: read_kernel(path, record) for path in (REFERENCE / "kernels").glob("*.safetensors")}
    ceiling, attainable = Judge(record, "generated").ceiling(), Judge(record, "generated").attainable()
    judged: dict[int, list[Judged]] = {}
    lists = {count: QueryList.of(record, stride, scores, kernels) for count, stride in LISTS.items()}
    ours = {}
    for count, listed in lists.items():
        comparison = listed.comparison()
        outcome = comparison.outcome(comparison.standard)
        judged[count] = judge_list(listed, outcome, attainable.value)
        ours[count] = Ours.of(comparison, listed.rivals, len(record.subsets), len(listed.rows))
    write_result(
        "lab",
        command=COMMAND,
        seed=SEED,
        figures=figures(lists[48], judged[48], ours[48], ours[16]),
        rows=[{**row.row(), f"list_{count}": True} for count, rows in judged.items() for row in rows],
    )
    plot_scores(judged[48], ceiling, attainable)


if __name__ == "__main__":
    main()
