"""Part of `make lab`: contributors' shares against models that were trained without all their works.

Writes `groups.json` and a plot. There are three tables: all generated queries and all contributors that were
left out; the queries that costlier methods scored; the contributors that GUDA unlearned. All rows of a table
are judged on the same queries and contributors.

The figure `rank_gain_low` uses the correlation *by query*, over the contributors of one picture, because pay
follows a picture; this was decided before the first result. The other correlation stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.consensus import standardised
from creditline.attribution.methods.hyperparameters import CONSENSUSES
from creditline.attribution.unlearning.groups import group_sums
from creditline.corpus.works import Corpus
from creditline.evaluation.bootstrap import Estimate, bootstrap
from creditline.evaluation.lab.common_scale import fit_expected_change
from creditline.evaluation.lab.judging.groups import (
    SEED,
    GroupAgreement,
    GroupJudge,
    GroupScores,
    read_group_scores,
    rows_by_contributor,
)
from creditline.evaluation.lab.judging.scoring import MethodScores, read_all_scores
from creditline.evaluation.lab.plan import draw_works
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.removal.counterfactuals import Counterfactuals
from creditline.evaluation.lab.removal.removals import read_removals
from creditline.evaluation.lab.setting import REFERENCE
from creditline.evaluation.lds import RetrainedModels
from creditline.generator.reference import reference_corpus
from tests.benchmarks import served_contributors, surrogate_shap
from tests.benchmarks.group_plots import plot_groups
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
GUDA = REFERENCE / "contributors.safetensors"
# Methods whose expected ΔL is summed: those that scored every generated query, and those that did not.
SUMMED = ("consensus-gradients", "d-trak", "influence-noise", "text-sharpened", "joined")
COSTLIER = ("consensus", "consensus-fast", "abu-plus")
SERVED, RIVAL, SIZES, RANDOM = "served shares", "SurrogateSHAP", "number of works", "random"

# (rows, contributors) -> (rows, contributors), what a way foretells.
Way = Callable[[Sequence[int], Sequence[str]], NDArray[np.float64]]


@dataclass(frozen=True)
class Bench:
    """What is committed: the record, its works, the measured effects, and contributors' scores."""

    record: LabRecord
    works: Corpus
    changes: Mapping[str, NDArray[np.float64]]
    scores: Mapping[str, MethodScores]
    served: GroupScores
    rival: GroupScores
    guda: GroupScores

    def measured(self, rows: Sequence[int], contributors: Sequence[str]) -> NDArray[np.float64]:
        """ΔL of queries without contributors: (rows, contributors)."""
        return np.stack([self.changes[name] for name in contributors], axis=1)[list(rows)]


def open_bench() -> Bench:
    record = read_record(REFERENCE / "record.safetensors")
    works, _ = draw_works(reference_corpus(), record.plan)
    removals = read_removals(REFERENCE / "removals.safetensors")
    return Bench(
        record,
        works,
        Counterfactuals(record, removals).contributor_changes(),
        read_all_scores(REFERENCE / "scores", record),
        read_group_scores(served_contributors.SERVED, record, served_contributors.COMMAND),
        read_group_scores(surrogate_shap.TABLE, record, surrogate_shap.COMMAND),
        read_group_scores(GUDA, record, "creditline lab contributors"),
    )


def mapped_scores(record: LabRecord, scores: MethodScores, rows: Sequence[int]) -> NDArray[np.float64]:
    """Expected ΔL of every work for some generated queries, by the map of all subsets: (rows, N)."""
    columns = np.searchsorted(record.query_rows("generated"), rows)
    retrained = record.retrained("generated")
    values = scores.of_rows(rows)
    fitted = fit_expected_change(
        values,
        RetrainedModels(retrained.subsets, retrained.losses[:, :, columns]),
        comparable=scores.method in CONSENSUSES,
    )
    return fitted.of(values)


def summed(bench: Bench, name: str) -> Way:
    """Sums of a method's expected ΔL over each contributor's works."""

    def way(rows: Sequence[int], contributors: Sequence[str]) -> NDArray[np.float64]:
        changes = mapped_scores(bench.record, bench.scores[name], rows)
        return group_sums(changes, groups_of(bench, contributors))

    return way


def groups_of(bench: Bench, contributors: Sequence[str]) -> list[list[int]]:
    return rows_by_contributor([work.contributor for work in bench.works], contributors)


def ways(bench: Bench) -> dict[str, Way]:
    """The ways that cover every generated query and contributor, by name."""

    def raw(rows: Sequence[int], contributors: Sequence[str]) -> NDArray[np.float64]:
        values = standardised(bench.scores["consensus-gradients"].of_rows(rows))
        return group_sums(values, groups_of(bench, contributors))

    def sizes(rows: Sequence[int], contributors: Sequence[str]) -> NDArray[np.float64]:
        counts = np.array([float(len(group)) for group in groups_of(bench, contributors)])
        return np.broadcast_to(counts, (len(rows), len(contributors))).copy()

    def random(rows: Sequence[int], contributors: Sequence[str]) -> NDArray[np.float64]:
        return np.random.default_rng(SEED).random((len(rows), len(contributors)))

    of_tables = {
        SERVED: (bench.served, served_contributors.SHARES),
        f"{SERVED}, as an answer of ten works names them": (bench.served, served_contributors.NAMED),
        RIVAL: (bench.rival, surrogate_shap.CHOSEN),
        f"{RIVAL}, values of its game without trees": (bench.rival, surrogate_shap.EXACT),
        f"{RIVAL}, the paper's game and trees": (bench.rival, surrogate_shap.PUBLISHED),
    }
    return {
        **{name: _from(table, score) for name, (table, score) in of_tables.items() if score in table.values},
        **{f"expected ΔL, summed ({name})": summed(bench, name) for name in SUMMED},
        "scores, summed (consensus-gradients)": raw,
        SIZES: sizes,
        RANDOM: random,
    }


def _from(table: GroupScores, score: str) -> Way:
    return lambda rows, contributors: table.of(score, rows, contributors)


@dataclass(frozen=True)
class Table:
    """One list of ways, judged on the same queries and contributors."""

    name: str
    rows: tuple[int, ...]
    contributors: tuple[str, ...]
    ways: Mapping[str, Way]

    def predicted(self) -> dict[str, NDArray[np.float64]]:
        return {name: way(self.rows, self.contributors) for name, way in self.ways.items()}


def tables(bench: Bench) -> tuple[Table, Table, Table]:
    """All queries and contributors; the queries of costlier methods; the contributors of GUDA."""
    every = ways(bench)
    generated = tuple(int(row) for row in bench.record.query_rows("generated"))
    contributors = tuple(bench.changes)
    fewer = tuple(sorted(set(generated).intersection(*(bench.scores[name].rows for name in COSTLIER))))
    costly = {f"expected ΔL, summed ({name})": summed(bench, name) for name in COSTLIER}
    unlearned = tuple(name for name in contributors if name in bench.guda.contributors)
    guda = {name: _from(bench.guda, name) for name in bench.guda.values}
    beside = {
        name: every[name] for name in (SERVED, RIVAL, f"expected ΔL, summed ({SUMMED[0]})", SIZES, RANDOM)
    }
    return (
        Table("all", generated, contributors, every),
        Table("costlier", fewer, contributors, costly | beside),
        Table("guda", generated, unlearned, guda | beside),
    )


def efficiency_error(bench: Bench, name: str, rows: Sequence[int]) -> float | None:
    """How far all contributors' values are from the value of the whole, relative, mean over queries.

    The whole is the sum over all works for sums of works' values, 1 for shares, and the value of all
    contributors in its game for SurrogateSHAP. None where a way has no value of the whole.
    """
    everyone = sorted({work.contributor for work in bench.works})
    if name.startswith(SERVED):
        score = served_contributors.SHARES if name == SERVED else served_contributors.NAMED
        return float(np.abs(1.0 - bench.served.of(score, rows, everyone).sum(axis=1)).mean())
    if name.startswith(RIVAL):
        score = {
            RIVAL: surrogate_shap.CHOSEN,
            f"{RIVAL}, values of its game without trees": surrogate_shap.EXACT,
        }.get(name, surrogate_shap.PUBLISHED)
        whole = bench.rival.of(score, rows, [surrogate_shap.WHOLE])[:, 0]
        missed = bench.rival.of(score, rows, everyone).sum(axis=1) - whole
        return float(np.abs(missed).mean() / np.abs(whole).mean())
    if name.startswith("expected ΔL"):
        changes = mapped_scores(bench.record, bench.scores[name.split("(")[1].rstrip(")")], rows)
        sums = group_sums(changes, groups_of(bench, everyone)).sum(axis=1)
        return float(np.abs(sums - changes.sum(axis=1)).mean() / np.abs(changes.sum(axis=1)).mean())
    return None


def over_measured(name: str, predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> float | None:
    """Sum of predicted over sum of measured effects, for ways in units of ΔL; 1 is right."""
    return float(predicted.sum() / measured.sum()) if name.startswith("expected ΔL") else None


def row(
    bench: Bench, table: Table, name: str, agreement: GroupAgreement, ratio: float | None
) -> dict[str, Any]:
    """One way of one table."""
    listed: dict[str, Any] = {
        "part": table.name,
        "way": name,
        "queries": len(table.rows),
        "contributors": len(table.contributors),
    }
    for key in ("by_query", "by_contributor"):
        estimate: Estimate = getattr(agreement, key)
        # What is the same for every picture has no correlation over pictures, and no interval.
        constant = key == "by_contributor" and name == SIZES
        listed[key] = None if constant else estimate.value
        listed |= {
            f"{key}_low": None if constant else estimate.low,
            f"{key}_high": None if constant else estimate.high,
        }
    return listed | {"efficiency_error": efficiency_error(bench, name, table.rows), "over_measured": ratio}


def figure(estimate: Estimate, what: str, target: str | None = None) -> Figure:
    return Figure(estimate.value, low=estimate.low, high=estimate.high, target=target, what=what)


def figures(table: Table, judge: GroupJudge, agreements: Mapping[str, GroupAgreement]) -> dict[str, Figure]:
    """The issue's figure, and what stands beside it."""
    predicted = table.predicted()
    gain = judge.gain(predicted[SERVED], predicted[RIVAL])
    sizes = judge.gain(predicted[SERVED], predicted[SIZES])
    ours, theirs = agreements[SERVED], agreements[RIVAL]
    return {
        "rank_gain_low": Figure(
            gain.by_query.low,
            target="> 0",
            what="lower end of served shares − SurrogateSHAP: rank correlation, whom a picture owes",
        ),
        "rank_gain": figure(
            gain.by_query, "the difference itself; queries and contributors resampled together"
        ),
        "rank_gain_by_contributor": figure(gain.by_contributor, "the same: which pictures owe one"),
        "served_by_query": figure(ours.by_query, "served shares: rank correlation, whom a picture owes"),
        "served_by_contributor": figure(ours.by_contributor, "the same: which pictures owe one"),
        "surrogate_shap_by_query": figure(
            theirs.by_query, "SurrogateSHAP, with every aid: whom a picture owes"
        ),
        "surrogate_shap_by_contributor": figure(theirs.by_contributor, "the same: which pictures owe one"),
        "served_over_sizes": figure(sizes.by_query, "served shares − number of works: whom a picture owes"),
        "contributors": Figure(
            len(table.contributors), target=">= 40", what="contributors that were left out"
        ),
        "queries": Figure(len(table.rows), what="generated queries"),
    }


def retrained_controls(record: LabRecord) -> Figure:
    """Distance of models of all works that were trained again from the recorded ones, over the seeds'."""
    recorded, again = (
        Counterfactuals(record, read_removals(REFERENCE / path)).untouched_losses()
        for path in ("removals.safetensors", "again/nothing.safetensors")
    )
    rows = record.query_rows("generated")
    repeated = np.square(again - recorded)[:, rows]
    seeds = np.square(recorded - np.roll(recorded, 1, axis=0))[:, rows]

    def ratio(chosen: NDArray[np.intp]) -> float:
        return float(np.sqrt(repeated[:, chosen].mean() / seeds[:, chosen].mean()))

    return figure(
        bootstrap(ratio, len(rows), seed=SEED),
        "models of all works trained again on another processor: distance of losses over that of seeds",
    )


def main() -> None:
    bench, listed = open_bench(), []
    for number, table in enumerate(tables(bench)):
        measured = bench.measured(table.rows, table.contributors)
        judge, predicted = GroupJudge(measured), table.predicted()
        agreements = {name: judge.agreement(values) for name, values in predicted.items()}
        for name, agreement in agreements.items():
            ratio = over_measured(name, predicted[name], measured)
            listed.append(row(bench, table, name, agreement, ratio))
        if number == 0:
            found = figures(table, judge, agreements)
            plot_groups(agreements, SERVED, RIVAL)
    found["retrained_controls"] = retrained_controls(bench.record)
    write_result("groups", command=COMMAND, seed=SEED, figures=found, rows=listed)


if __name__ == "__main__":
    main()
