"""Part of `make distill-figures`: students of one label set by every recipe, judged by retraining.

Writes `distillation.json`. The students are trained on labelled pictures that the lab's generator made, none
by a prompt of the lab's own queries; the lab then says how much of the teacher's agreement with retraining is
left (LDS), over the same queries and halves for all. Every score, raw features' too, is read through a
calibration that is fitted on labelled pictures set aside.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.corpus.works import Corpus
from creditline.distillation.assessment.calibration_fitting import fit_calibration
from creditline.distillation.labels.common_scale import on_common_scale
from creditline.distillation.labels.label_set import HELD_OUT, LabelledQuery, LabelSet, png, read_labels
from creditline.distillation.training.feature_store import FeatureStore
from creditline.distillation.training.fitting import Examples, TrainingPlan, encoder_scores, train_encoder
from creditline.distillation.training.recipes import OURS, PAPER, RECIPES
from creditline.encoder.encoder import Encoder
from creditline.evaluation.agreement import ndcg_at_k
from creditline.evaluation.bootstrap import Estimate
from creditline.evaluation.lab.common_scale import read_maps
from creditline.evaluation.lab.judging.scoring import SEED, Judge, MethodScores, read_scores
from creditline.evaluation.lab.plan import draw_works
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.setting import REFERENCE
from creditline.generator.reference import reference_corpus
from creditline.towers.parts import Parts
from creditline.towers.towers import Towers
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result

COMMAND = "make distill-figures"
LAB_LABELS = Path(__file__).resolve().parent / "lab-labels"
FEATURES = REPOSITORY / "runs" / "features"
SINGLES = ("abu-plus", "d-trak", "influence-noise")
RAW = {"image": ("image",), "layout": ("layout",), "text": ("text",), "joined": ("image", "layout", "text")}
COUNTS = (50, 100, 200, 400, 800)
_SET_ASIDE = 144
_DEPTH = 100


@dataclass(frozen=True)
class Bench:
    """Everything as features. train: labelled pictures; aside: (A, F), (A, N); lab: (Q, F), of `rows`."""

    record: LabRecord
    rows: tuple[int, ...]
    train: Examples
    aside: Examples
    lab: NDArray[np.float32]
    teacher: MethodScores
    truth: NDArray[np.float64]

    @property
    def parts(self) -> Parts:
        return self.train.parts


def lab_queries(record: LabRecord) -> list[LabelledQuery]:
    """The lab's own generated queries, as label sets have theirs."""
    rows = record.query_rows("generated")
    pictures = png([Image.fromarray(record.pictures[row]) for row in rows])
    queries = [record.queries[row] for row in rows]
    return [
        LabelledQuery(picture, query.prompt, query.seed, 0.0, HELD_OUT)
        for picture, query in zip(pictures, queries, strict=True)
    ]


def open_bench(store: FeatureStore) -> Bench:
    """Read labels and record, and compute the features."""
    record = read_record(REFERENCE / "record.safetensors")
    works, _ = draw_works(reference_corpus(), record.plan)
    labels = read_labels(LAB_LABELS)
    _refuse_shared_prompts(labels, record)
    teacher = read_scores(REFERENCE / "scores" / f"{labels.teacher}.safetensors", record)
    rows = tuple(int(row) for row in record.query_rows("generated"))
    labelled = _examples(on_common_scale(labels), works, store)
    order = np.random.default_rng(SEED).permutation(len(labelled.queries))
    return Bench(
        record,
        rows,
        labelled.rows(np.sort(order[_SET_ASIDE:])),
        labelled.rows(np.sort(order[:_SET_ASIDE])),
        store.queries(lab_queries(record)),
        teacher,
        read_maps()[labels.teacher].excess(teacher.of_rows(rows)),
    )


def _examples(labels: LabelSet, works: Corpus, store: FeatureStore) -> Examples:
    return Examples(store.queries(labels.queries), store.works(works), labels.influence, store.towers.parts)


def _refuse_shared_prompts(labels: LabelSet, record: LabRecord) -> None:
    """Training pictures share no prompt with those of the lab."""
    judged = {query.prompt.casefold() for query in record.queries}
    shared = judged & {query.prompt.casefold() for query in labels.queries}
    if shared:
        raise ValueError(f"{len(shared)} prompts of the lab are labelled, such as {sorted(shared)[0]!r}")


def calibrated(bench: Bench, aside: NDArray[np.float32], lab: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosines read as influence by a curve that is fitted on the pictures set aside: (Q, N)."""
    return fit_calibration(aside, bench.aside.influence).expected_influence(lab)


def raw_scores(bench: Bench) -> dict[str, NDArray[np.float64]]:
    """Each raw feature's calibrated cosines with the lab's queries."""
    slices = bench.parts.slices()
    found = {}
    for name, parts in RAW.items():
        aside, lab = (
            np.mean([given[:, slices[part]] @ bench.train.works[:, slices[part]].T for part in parts], axis=0)
            for given in (bench.aside.queries, bench.lab)
        )
        found[f"raw {name}"] = calibrated(bench, aside, lab)
    return found


def student_scores(bench: Bench, encoder: Encoder) -> NDArray[np.float64]:
    """A student's calibrated cosines with the lab's queries."""
    works = bench.train.works
    return calibrated(
        bench,
        encoder_scores(encoder, bench.aside.queries, works),
        encoder_scores(encoder, bench.lab, works),
    )


@dataclass(frozen=True)
class Judged:
    """One row. ndcg: against the teacher's expected ΔL."""

    name: str
    scores: MethodScores
    lds: Estimate
    ndcg: float
    seconds: float = 0.0
    epochs: int = 0


def judged(bench: Bench, name: str, values: NDArray[np.float64], **cost: Any) -> Judged:
    """A method's row, from its scores of the lab's queries."""
    scores = MethodScores(
        name, bench.rows, values.astype(np.float32), bench.teacher.cost, bench.record.fingerprints
    )
    pairs = zip(values, bench.truth, strict=True)
    return Judged(
        name,
        scores,
        Judge(bench.record, "generated").lds(scores),
        float(np.mean([ndcg_at_k(ours, theirs, _DEPTH) for ours, theirs in pairs])),
        **cost,
    )


def students(bench: Bench, recipes: dict[str, TrainingPlan]) -> Iterator[tuple[Judged, Encoder]]:
    """Train by each recipe."""
    for name, plan in recipes.items():
        trained = train_encoder(bench.train, [plan], seed=SEED)
        row = judged(
            bench,
            name,
            student_scores(bench, trained.encoder),
            seconds=trained.seconds,
            epochs=trained.epochs,
        )
        print(f"{name}: LDS {row.lds.value:.3f}, nDCG {row.ndcg:.3f}, {trained.seconds:.0f} s", flush=True)
        yield row, trained.encoder


def by_count(bench: Bench) -> list[dict[str, Any]]:
    """Our recipe on fewer and fewer labelled pictures."""
    listed = []
    order = np.random.default_rng(SEED).permutation(len(bench.train.queries))
    for count in COUNTS:
        few = dataclasses.replace(bench, train=bench.train.rows(np.sort(order[:count])))
        ((row, _),) = students(few, {f"{count} queries": RECIPES[OURS]})
        listed.append({"queries": count, "lds": row.lds.value, "ndcg": row.ndcg})
    return listed


def figures(
    bench: Bench, rows: dict[str, Judged], narrow: Judged, counts: list[dict[str, Any]]
) -> dict[str, Figure]:
    """The issue's figures that the lab can tell."""
    judge = Judge(bench.record, "generated")
    ours, teacher = rows[OURS], rows["teacher"]
    raw = max((row for name, row in rows.items() if name.startswith("raw")), key=lambda row: row.lds.value)
    singles = [read_scores(REFERENCE / "scores" / f"{name}.safetensors", bench.record) for name in SINGLES]
    single = max(singles, key=lambda scores: judge.lds(scores).value)
    shared = judge.lds(ours.scores, single), judge.lds(single, ours.scores)
    gain = judge.difference(ours.scores, rows[PAPER].scores)
    enough = [row["queries"] for row in counts if row["lds"] >= 0.95 * ours.lds.value]
    return {
        "student_over_teacher_lds": Figure(
            ours.lds.value / teacher.lds.value,
            target=">= 0.95",
            what=f"LDS of our student over that of its label teacher ({bench.teacher.method})",
        ),
        "student_over_best_single_lds": Figure(
            shared[0].value / shared[1].value,
            target=">= 0.95",
            what=f"the same over the best single teacher ({single.method}), on the queries that it scored",
        ),
        "gap_closed": Figure(
            (ours.lds.value - raw.lds.value) / (teacher.lds.value - raw.lds.value),
            target=">= 0.9",
            what=f"(student − best raw feature) / (teacher − best raw feature), LDS ({raw.name})",
        ),
        "minus_paper_recipe_lds": Figure(
            gain.value,
            low=gain.low,
            high=gain.high,
            what="LDS of our recipe − that of the paper's, same labels",
        ),
        "lds_lost_at_256": Figure(
            1.0 - narrow.lds.value / ours.lds.value, what="LDS lost at 256 of 768 numbers, relative"
        ),
        "queries_for_95pct": Figure(
            min(enough, default=len(bench.train.queries)),
            what="fewest labelled pictures that reach 95 % of our LDS",
        ),
        "training_queries": Figure(
            len(bench.train.queries), what="labelled pictures that students are trained on"
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    bench = open_bench(FeatureStore(Towers.open(), FEATURES, print))
    rows = {"teacher": judged(bench, "teacher", bench.truth)}
    rows |= {name: judged(bench, name, values) for name, values in raw_scores(bench).items()}
    rows["random"] = judged(bench, "random", np.random.default_rng(SEED).random(bench.truth.shape))
    encoders = {}
    for row, encoder in students(bench, dict(RECIPES)):
        rows[row.name], encoders[row.name] = row, encoder
    narrow = {
        width: judged(
            bench, f"{OURS}, {width} numbers", student_scores(bench, encoders[OURS].truncated(width))
        )
        for width in RECIPES[OURS].nested
    }
    counts = by_count(bench)
    listed = [*rows.values(), *narrow.values()]
    write_result(
        "distillation",
        command=COMMAND,
        seed=SEED,
        figures=figures(bench, rows, narrow[256], counts),
        rows=[
            {
                "recipe": row.name,
                "lds": row.lds.value,
                "lds_low": row.lds.low,
                "lds_high": row.lds.high,
                "of_teacher": row.lds.value / rows["teacher"].lds.value,
                "ndcg100": row.ndcg,
                "epochs": row.epochs or None,
                "seconds": row.seconds or None,
            }
            for row in listed
        ]
        + counts,
        merge=True,
    )


if __name__ == "__main__":
    main()
