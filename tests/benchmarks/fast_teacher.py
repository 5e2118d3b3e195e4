"""Part of `make lab`: the fast teacher against the full one, from the committed scores.

Writes `fast-teacher.json`: a row for each method on the judged queries, and then one for each estimator that
was tried on the others. Both teachers draw the works' noise independently, so that the fast one's recall
is held against what the full one finds of its own first works at other noise. What the fast teacher chooses
(which part of the schedule, how many passes, the remainder's weight) was chosen on every sixth generated
query; those are left out here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.evaluation.agreement import recall_at_k, spearman
from creditline.evaluation.bootstrap import bootstrap, bootstrap_mean
from creditline.evaluation.lab.draws import DrawRecord, read_draws
from creditline.evaluation.lab.judging.scoring import SEED, Judge, MethodScores, read_all_scores, read_scores
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.setting import REFERENCE
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
FULL, FAST, AGAIN = "abu-plus", "abu-plus-fast", "abu-plus-again"
# Its consensus with methods that cost next to nothing, and that of those methods alone.
CONSENSUS, GRADIENTS = "consensus-fast", "consensus-gradients"
# Those that need no pass of the works: what else could stand in for the teacher.
CHEAP = ("influence-ekfac", "influence-noise", "d-trak", "text-sharpened", "joined", "random")
FIRST = 100
_CHOOSING_STRIDE = 6
# Of 20 draws, strided over the first 13.
_PLACES = ([3, 9], [2, 6, 10], [1, 4, 8, 11])
_WEIGHTS = (0.5, 0.7, 1.0)
# Successive halving's second stage.
_MORE, _KEPT = [1, 5, 7, 11], 200


def judged_queries(record: LabRecord, *methods: MethodScores) -> list[int]:
    """Generated queries that all methods scored and on which nothing was chosen."""
    shared = set.intersection(*(set(scores.rows) for scores in methods))
    rows = record.query_rows("generated")
    chosen_on = {int(row) for row in rows[::_CHOOSING_STRIDE]}
    return sorted(shared & {int(row) for row in rows} - chosen_on)


def recalls(scores: MethodScores, full: MethodScores, queries: Sequence[int]) -> NDArray[np.float64]:
    """The part of the full teacher's first hundred that a method finds, query by query."""
    pairs = zip(scores.of_rows(queries), full.of_rows(queries), strict=True)
    return np.array([recall_at_k(ours, theirs, FIRST) for ours, theirs in pairs])


def row(
    scores: MethodScores, listed: Sequence[MethodScores], judge: Judge, queries: Sequence[int]
) -> dict[str, Any]:
    """One method beside the full teacher and its second run, which are listed first."""
    full, again = listed[:2]
    ceiling = float(recalls(again, full, queries).mean())
    found = bootstrap_mean(recalls(scores, full, queries), seed=SEED)
    pairs = zip(scores.of_rows(queries), full.of_rows(queries), strict=True)
    judged = judge.lds(scores, *listed)
    return {
        "method": scores.method,
        "recall": found.value,
        "recall_low": found.low,
        "recall_high": found.high,
        "recall_of_ceiling": found.value / ceiling,
        "spearman": float(np.mean([spearman(ours, theirs) for ours, theirs in pairs])),
        "lds": judged.value,
        "lds_low": judged.low,
        "lds_high": judged.high,
        "passes_per_query": scores.cost.passes_per_query,
        "pass_ratio": scores.cost.passes_per_query / full.cost.passes_per_query,
        "seconds_per_query": scores.cost.seconds_per_query,
    }


def figures(
    fast: MethodScores, again: MethodScores, full: MethodScores, queries: Sequence[int]
) -> dict[str, Figure]:
    """The issue's figures."""
    ours, itself = recalls(fast, full, queries), recalls(again, full, queries)
    ratio = bootstrap(lambda rows: float(ours[rows].mean() / itself[rows].mean()), len(queries), seed=SEED)
    ceiling = bootstrap_mean(itself, seed=SEED)
    return {
        "pass_ratio": Figure(
            fast.cost.passes_per_query / full.cost.passes_per_query,
            target="<= 0.2",
            what="passes per query over full AbU+'s",
        ),
        "top100_recall_of_ceiling": Figure(
            ratio.value,
            low=ratio.low,
            high=ratio.high,
            target=">= 0.95",
            what="recall of the full teacher's first 100 of 500 works over its own at other noise",
        ),
        "full_teacher_recall_of_itself": Figure(
            ceiling.value, low=ceiling.low, high=ceiling.high, what="that agreement: the ceiling"
        ),
        "queries": Figure(len(queries), what="generated queries on which nothing was chosen"),
    }


def estimators(draws: DrawRecord) -> dict[str, tuple[float, NDArray[np.float64]]]:
    """What could be made of fewer passes: name -> (the works' passes per query, scores (Q, N))."""
    changes, first = draws.changes.astype(np.float64), draws.first_order.astype(np.float64)
    controls, works = draws.controls.astype(np.float64), changes.shape[1]

    def few(places: Sequence[int]) -> NDArray[np.float64]:
        return changes[:, :, places].mean(axis=2)

    def controlled(places: Sequence[int], weight: float) -> NDArray[np.float64]:
        return controls + weight * (few(places) - first[:, :, places].mean(axis=2))

    found = {"first order alone": (0.0, controls)}
    for places in _PLACES:
        found[f"{len(places)} draws alone"] = (works * len(places), few(places))
        for weight in _WEIGHTS:
            found[f"{len(places)} draws, controlled, w = {weight}"] = (
                works * len(places),
                controlled(places, weight),
            )
    found["halving: 2 draws, then 4 more for the best 200"] = halved(few(_PLACES[0]), few(_MORE))
    found["halving, controlled, w = 0.7"] = halved(controlled(_PLACES[0], 0.7), controlled(_MORE, 0.7))
    return found


def halved(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Successive halving: the second stage's draws only for the first stage's best works.

    first, second: (Q, N), each stage's mean. Returns the passes per query and the scores.
    """
    scores = first.copy()
    for ours, more in zip(scores, second, strict=True):
        kept = np.argsort(-ours)[:_KEPT]
        joined = (len(_PLACES[0]) * ours[kept] + len(_MORE) * more[kept]) / (len(_PLACES[0]) + len(_MORE))
        # Those that are left stay above those that are not.
        ours[kept] = joined - joined.min() + ours.max() + 1.0
    return len(_PLACES[0]) * first.shape[1] + len(_MORE) * _KEPT, scores


def estimator_rows(draws: DrawRecord, full: MethodScores, again: NDArray[np.float64]) -> list[dict[str, Any]]:
    """A row for each estimator, on the queries of the draws. again: (Q, N), all draws' mean: the ceiling."""
    truth = full.of_rows([int(row) for row in draws.rows])
    ceiling = np.mean([recall_at_k(ours, theirs, FIRST) for ours, theirs in zip(again, truth, strict=True)])
    rows = []
    for name, (passes, scores) in estimators(draws).items():
        found = bootstrap_mean(
            [recall_at_k(ours, theirs, FIRST) for ours, theirs in zip(scores, truth, strict=True)], seed=SEED
        )
        spent = passes + float(draws.step_passes.mean())
        rows.append(
            {
                "method": name,
                "tried_on": len(truth),
                "recall": found.value,
                "recall_low": found.low,
                "recall_high": found.high,
                "recall_of_ceiling": found.value / float(ceiling),
                "passes_per_query": spent,
                "pass_ratio": spent / full.cost.passes_per_query,
            }
        )
    return rows


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    scores = read_all_scores(REFERENCE / "scores", record)
    again = read_scores(REFERENCE / "again" / f"{AGAIN}.safetensors", record)
    queries = judged_queries(record, scores[FULL], scores[FAST], again)
    judge = Judge(record, "generated")
    listed = [scores[FULL], again, scores[FAST], *(scores[name] for name in (CONSENSUS, GRADIENTS, *CHEAP))]
    draws = read_draws(REFERENCE / "again" / "draws.safetensors")
    tried = estimator_rows(draws, scores[FULL], draws.changes.mean(axis=2, dtype=np.float64))
    write_result(
        "fast-teacher",
        command=COMMAND,
        seed=SEED,
        figures=figures(scores[FAST], again, scores[FULL], queries),
        rows=[*(row(one, listed, judge, queries) for one in listed), *tried],
    )


if __name__ == "__main__":
    main()
