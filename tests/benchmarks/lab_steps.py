"""Part of `make lab`: every way to forget with every score of what was forgotten, over the same queries.

Writes `unlearning.json`, a row for each step: its linear datamodelling score by the difference of losses
(AbU's), in relative losses (ours) and by the normalised difference (MUCS's). All are of generated queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditline.attribution.unlearning.scores import UNLEARNING_SCORES
from creditline.evaluation.lab.judging.scoring import SEED, Judge, MethodScores, read_all_scores
from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.setting import REFERENCE
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make lab"
# What moves, and how: by the name that its files begin with.
STEPS = {
    "abu": "diagonal Fisher, cross-attention's keys and values",
    "abu-plus": "EK-FAC, cross-attention's keys and values",
    "abu-plus-attn": "EK-FAC, all projections of both attentions",
    "abu-plus-all": "EK-FAC, all weights",
    "abu-plus-3-steps": "EK-FAC, cross-attention's keys and values, three steps",
    "mucs": "bounded descent-ascent, MLPs and conditioning",
}
# The score that a step's own name means.
_OWN = {"mucs": "skew"}


def of_step(step: str, score: str) -> str:
    """The name under which a step's score is kept."""
    return step if score == _OWN.get(step, "difference") else f"{step}-{score}"


def rows(judge: Judge, scores: Mapping[str, MethodScores]) -> list[dict[str, Any]]:
    """A row a step that was run, each score over the queries of all of them."""
    run = [step for step in STEPS if step in scores]
    everything = [scores[of_step(step, score)] for step in run for score in UNLEARNING_SCORES]
    listed = []
    for step in run:
        cost = scores[step].cost
        row: dict[str, Any] = {"step": step, "moves": STEPS[step]}
        for score in UNLEARNING_SCORES:
            found = judge.lds(scores[of_step(step, score)], *everything)
            row |= {score: found.value, f"{score}_low": found.low, f"{score}_high": found.high}
        listed.append(row | {"passes_per_query": cost.passes_per_query})
    return listed


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    judge = Judge(record, "generated")
    scores = read_all_scores(REFERENCE / "steps", record) | read_all_scores(REFERENCE / "scores", record)
    listed = rows(judge, scores)
    shared = set.intersection(*(set(scores[row["step"]].rows) for row in listed))
    generated = shared & {int(row) for row in judge.record.query_rows("generated")}
    write_result(
        "unlearning",
        command=COMMAND,
        seed=SEED,
        figures={"queries": Figure(len(generated), what="generated queries that every step was run on")},
        rows=listed,
    )


if __name__ == "__main__":
    main()
