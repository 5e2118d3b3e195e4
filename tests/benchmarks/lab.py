"""`make lab`: every method against retraining, from the committed record, scores and removals (minutes).

Writes `lab.json` (a row per method) and `leave-k-out.json`, and their plots. The scores themselves are made
by `creditline lab score METHOD --save DIRECTORY`, the record and the removals by `make lab-train`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from creditline.attribution.methods.hyperparameters import CONSENSUSES
from creditline.evaluation.bootstrap import Estimate
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
# The plain likenesses that people use; what is sharpened is ours.
SIMILARITY = ("pixels", "image", "text", "joined")
OURS = (
    "text-sharpened",
    "nda-same-place",
    "trak-relative",
    "influence-noise",
    "influence-relative",
    "abu-plus-relative",
    "abu-plus-skew",
    "abu-plus-fast",
    "abu-plus-attn-fast",
    *CONSENSUSES,
)
RANDOM, TEACHER = "random", "abu-plus"


@dataclass(frozen=True)
class Judged:
    """One method's row: generated queries in relative losses first, then as the papers have it."""

    scores: MethodScores
    generated: Estimate
    held_out: Estimate | None
    in_noise_loss: Estimate
    ceiling: float

    @property
    def kind(self) -> str:
        name = self.scores.method
        if name == RANDOM:
            return "control"
        return "ours" if name in OURS else "similarity" if name in SIMILARITY else "published"

    def row(self) -> dict[str, Any]:
        cost = self.scores.cost
        held_out = self.held_out
        return {
            "method": self.scores.method,
            "kind": self.kind,
            "lds": self.generated.value,
            "lds_low": self.generated.low,
            "lds_high": self.generated.high,
            "lds_of_ceiling": self.generated.value / self.ceiling,
            "lds_held_out": None if held_out is None else held_out.value,
            "lds_held_out_low": None if held_out is None else held_out.low,
            "lds_held_out_high": None if held_out is None else held_out.high,
            "lds_in_noise_loss": self.in_noise_loss.value,
            "queries": len(self.scores.rows),
            "seconds_per_query": cost.seconds_per_query,
            "passes_per_query": cost.passes_per_query,
            "preparation_seconds": cost.preparation_seconds,
            "bytes_per_work": cost.bytes_per_work,
        }


def judge_all(record: LabRecord, scores: Mapping[str, MethodScores], ceiling: float) -> list[Judged]:
    """Every method that has scores, the best first."""
    generated, in_noise, held_out = (
        Judge(record, "generated"),
        Judge(record, "generated", "noise"),
        Judge(record, "heldout"),
    )
    has_held_out = {
        name: bool(set(record.query_rows("heldout")) & set(one.rows)) for name, one in scores.items()
    }
    judged = [
        Judged(
            one,
            generated.lds(one),
            held_out.lds(one) if has_held_out[name] else None,
            in_noise.lds(one),
            ceiling,
        )
        for name, one in scores.items()
    ]
    return sorted(judged, key=lambda row: -row.generated.value)


def figures(record: LabRecord, judged: list[Judged], ceiling: Estimate) -> dict[str, Figure]:
    """The issue's figures, and the ceilings that stand beside them."""
    judge = Judge(record, "generated")
    by_name = {row.scores.method: row for row in judged}
    random = by_name[RANDOM].generated
    best = max((row for row in judged if row.kind == "ours"), key=lambda row: row.generated.value)
    published = max((row for row in judged if row.kind == "published"), key=lambda row: row.generated.value)
    similar = max((row for row in judged if row.kind == "similarity"), key=lambda row: row.generated.value)
    over_similarity = judge.difference(by_name[TEACHER].scores, similar.scores)
    over_published = judge.difference(best.scores, published.scores)
    shared = judge.lds(best.scores, published.scores), judge.lds(published.scores, best.scores)
    return {
        "subsets": Figure(
            len(record.subsets), "", target=">= 48", what="retrained subsets, each from two seeds"
        ),
        "noise_ceiling": _figure(
            ceiling, ">= 0.6", "what one seed's losses tell of the other's, generated queries"
        ),
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
            what=f"lower end of AbU+ − best plain similarity ({similar.scores.method}), same queries",
        ),
        "best_minus_published_low": Figure(
            over_published.low,
            target="> 0",
            what=f"lower end of {best.scores.method} − {published.scores.method}, same queries",
        ),
        "best_over_published": Figure(
            shared[0].value / shared[1].value, target=">= 1.1", what="the same as a ratio"
        ),
        "noise_ceiling_held_out": _figure(
            Judge(record, "heldout").ceiling(), None, "as above, held-out real queries"
        ),
        "noise_ceiling_in_noise_loss": _figure(
            Judge(record, "generated", "noise").ceiling(), None, "as above, in the papers' loss"
        ),
        "judging_subsets": Figure(
            len(record.subsets) - CHOOSING, what="whatever a method chooses was chosen on the others"
        ),
    }


def _figure(estimate: Estimate, target: str | None, what: str) -> Figure:
    return Figure(estimate.value, low=estimate.low, high=estimate.high, target=target, what=what)


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    scores = read_all_scores(REFERENCE / "scores", record)
    for name, weights in CONSENSUSES.items():
        scores[name] = joined(name, [scores[member] for member in weights], tuple(weights.values()))
        write_scores(scores[name], REFERENCE / "scores")
    ceiling = Judge(record, "generated").ceiling()
    judged = judge_all(record, scores, ceiling.value)
    write_result(
        "lab",
        command=COMMAND,
        seed=SEED,
        figures=figures(record, judged, ceiling),
        rows=[row.row() for row in judged],
    )
    plot_scores(judged, ceiling)


if __name__ == "__main__":
    main()
