"""Part of `make lab`: the fast teacher against the full one, from the committed scores.

Writes `fast-teacher.json`. Both teachers draw the works' noise independently, so that the fast one's recall
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
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.scoring import SEED, Judge, MethodScores, read_all_scores, read_scores
from creditline.evaluation.lab.setting import REFERENCE
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
FULL, FAST, AGAIN = "abu-plus", "abu-plus-fast", "abu-plus-again"
# Those that need no pass of the works: what else could stand in for the teacher.
CHEAP = ("influence-ekfac", "influence-noise", "d-trak", "text-sharpened", "joined", "random")
FIRST = 100
_CHOOSING_STRIDE = 6


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
    scores: MethodScores, full: MethodScores, record: LabRecord, queries: Sequence[int], ceiling: float
) -> dict[str, Any]:
    """One method beside the full teacher."""
    found = bootstrap_mean(recalls(scores, full, queries), seed=SEED)
    pairs = zip(scores.of_rows(queries), full.of_rows(queries), strict=True)
    judged = Judge(record, "generated").lds(scores, full)
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


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    scores = read_all_scores(REFERENCE / "scores")
    again = read_scores(REFERENCE / "again" / f"{AGAIN}.safetensors")
    queries = judged_queries(record, scores[FULL], scores[FAST], again)
    ceiling = float(recalls(again, scores[FULL], queries).mean())
    listed = [scores[FULL], again, scores[FAST], *(scores[name] for name in CHEAP)]
    write_result(
        "fast-teacher",
        command=COMMAND,
        seed=SEED,
        figures=figures(scores[FAST], again, scores[FULL], queries),
        rows=[row(one, scores[FULL], record, queries, ceiling) for one in listed],
    )


if __name__ == "__main__":
    main()
