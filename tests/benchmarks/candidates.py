"""Part of `make distill-figures`: students that learn from candidates instead of from every work's label.

On the reference corpus, where every label is known: those of works that are no candidates are hidden. Adds
rows to `distillation.json`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from creditline.distillation.assessment.held_out import encoder_cosines
from creditline.distillation.labels.candidates import (
    CandidatePlan,
    add_by_student,
    draw_candidates,
    inclusion_weights,
)
from creditline.distillation.training.feature_store import FeatureStore
from creditline.distillation.training.fitting import Examples, encoder_scores, train_encoder
from creditline.distillation.training.recipes import OURS, RECIPES
from creditline.encoder.encoder import Encoder
from creditline.evaluation.bootstrap import bootstrap_mean
from creditline.towers.towers import Towers
from tests.benchmarks.distillation import FEATURES
from tests.benchmarks.distillation_reference import SEED, Bench, ndcg_by_query, open_bench
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "python -m tests.benchmarks.candidates"
ONE_ROUND = CandidatePlan(by_feature=300, by_student=0, at_random=100)
TWO_ROUNDS = CandidatePlan(by_feature=150, by_student=150, at_random=100)
AT_RANDOM = CandidatePlan(by_feature=0, by_student=0, at_random=400)
NEAREST = CandidatePlan(by_feature=400, by_student=0, at_random=0)


def hidden(train: Examples, inclusion: NDArray[np.float32]) -> Examples:
    """Only candidates have labels."""
    seen = np.where(inclusion > 0.0, train.influence, 0.0).astype(np.float32)
    return dataclasses.replace(train, influence=seen, weights=inclusion_weights(inclusion))


def student(train: Examples, plan: CandidatePlan) -> Encoder:
    """Trained by our recipe on the candidates that a plan draws, in as many rounds as it needs."""
    near = train.queries @ train.works.T
    inclusion = draw_candidates(near, plan, seeds=range(len(near)))
    trained = train_encoder(hidden(train, inclusion), [RECIPES[OURS]], seed=SEED)
    if not plan.by_student:
        return trained.encoder
    scores = encoder_scores(trained.encoder, train.queries, train.works)
    more = add_by_student(inclusion, scores, plan.by_student)
    return train_encoder(hidden(train, more), [RECIPES[OURS]], seed=SEED).encoder


def row(name: str, encoder: Encoder, bench: Bench) -> dict[str, object]:
    """Its agreement with the teacher on held-out pictures, over all works."""
    assert bench.held_out.influence_repeat is not None
    ndcg = ndcg_by_query(encoder_cosines(encoder, bench.held_out), bench.held_out.influence)
    ceiling = ndcg_by_query(bench.held_out.influence_repeat, bench.held_out.influence).mean()
    estimate = bootstrap_mean(ndcg, seed=SEED)
    return {
        "reference": name,
        "ndcg100": estimate.value,
        "ndcg100_low": estimate.low,
        "ndcg100_high": estimate.high,
        "of_ceiling": estimate.value / float(ceiling),
    }


def main() -> None:
    bench = open_bench(FeatureStore(Towers.open(), FEATURES, print))
    plans = {
        "ours, 400 candidates at random": AT_RANDOM,
        "ours, the 400 nearest": NEAREST,
        "ours, 300 nearest and 100 at random": ONE_ROUND,
        "ours, 150 nearest, 150 by a first student, 100 at random": TWO_ROUNDS,
    }
    rows = []
    for name, plan in plans.items():
        rows.append(row(name, student(bench.train, plan), bench))
        print(rows[-1], flush=True)
    best = float(str(rows[-1]["of_ceiling"]))
    figure = Figure(
        best, what=f"as `ndcg100_of_ceiling`, from {TWO_ROUNDS.count} candidates a picture in two rounds"
    )
    write_result("distillation", COMMAND, SEED, {"ndcg100_of_ceiling_candidates": figure}, rows, merge=True)


if __name__ == "__main__":
    main()
