"""Measures the released encoder on held-out queries, beside raw features, chance and the teacher itself.

Run `python -m tests.benchmarks.encoder_quality` (about 3 minutes on 2 cores, most of it tower features).
"""

from __future__ import annotations

from pathlib import Path

from creditline.distillation.assessment.held_out import Assessment, HeldOut, assess
from creditline.distillation.assessment.queries import held_out_queries
from creditline.distillation.labels.label_set import read_labels
from creditline.distillation.training.feature_store import FeatureStore
from creditline.encoder.encoder import Encoder
from creditline.errors import FingerprintMismatch
from creditline.generator.reference import reference_corpus, reference_decoys
from creditline.release import open_release, reference_release_directory
from creditline.towers.towers import Towers
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result

SEED = 5
COMMAND = "python -m tests.benchmarks.encoder_quality"
# Those that the release was learnt from; only their held-out half is looked at.
LABELS = Path(__file__).resolve().parent / "reference-labels"
_FEATURES = REPOSITORY / "runs" / "features"
_WANTED: dict[str, tuple[str | None, str]] = {
    "ndcg100_gain_low": ("> 0", "lower end of the interval: ours − best raw feature, nDCG@100, paired"),
    "ndcg100_of_ceiling": (
        ">= 0.7",
        "ours over the teacher's agreement with itself at other noise, nDCG@100",
    ),
    "ndcg100": (None, "ours against the teacher, held-out queries"),
    "ndcg100_best_raw": (None, "best raw feature against the teacher"),
    "ndcg100_ceiling": (None, "the teacher against itself with other noise"),
    "recall10": (None, "of the teacher's top 10, the part in ours"),
    "decoy_share": (None, "credit that goes to decoys under our encoder (truth: none)"),
    "decoy_share_similarity": (None, "the same under the best raw feature"),
    "decoy_share_teacher": (None, "the same under the teacher"),
    "remainder": (None, "part of the credit outside the ten nearest works, as answers say it"),
    "remainder_true": (None, "the same as the teacher finds it"),
    "calibration_total_ratio": (None, "expected over true influence where most is expected (1 is right)"),
}


def reference_held_out(labels_directory: Path) -> HeldOut:
    """The held-out queries of a label set with all works and decoys, as features.

    Raises FingerprintMismatch when the labels are of other decoys than the reference corpus's.
    """
    labels, corpus, decoys = read_labels(labels_directory), reference_corpus(), reference_decoys()
    if (labels.corpus_fingerprint, labels.decoy_fingerprint) != (corpus.fingerprint, decoys.fingerprint):
        raise FingerprintMismatch("the labels are of another corpus or other decoys; label again")
    store = FeatureStore(Towers.open(), _FEATURES, print)
    return held_out_queries(labels, corpus, decoys, store)


def _figures(assessment: Assessment) -> dict[str, Figure]:
    return {
        key: Figure(estimate.value, "", estimate.low, estimate.high, target, what)
        for key, (target, what) in _WANTED.items()
        if (estimate := assessment.figures.get(key)) is not None
    }


def main() -> None:
    """Measure and write `encoder.json`."""
    release = open_release(reference_release_directory())
    encoder = Encoder.load(release.directory / "encoder.safetensors")
    assessment = assess(encoder, reference_held_out(LABELS), seed=SEED)
    rows = [
        {
            "method": method.name,
            "ndcg100": method.ndcg100.value,
            "ndcg100_low": method.ndcg100.low,
            "ndcg100_high": method.ndcg100.high,
            "recall10": method.recall10.value,
            "rank_correlation": method.rank_correlation.value,
        }
        for method in assessment.methods
    ]
    figures = _figures(assessment)
    write_result("encoder", COMMAND, SEED, figures, rows)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}] {figure.target or ''}")


if __name__ == "__main__":
    main()
