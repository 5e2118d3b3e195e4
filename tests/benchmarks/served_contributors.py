"""Part of `make distill-figures`: contributors' shares of the lab's pictures as the service would serve them.

Writes `served.safetensors` beside the lab's record, which `tests.benchmarks.groups` judges. The way is that
of a release. Our recipe's student of the lab's label set gives vectors; a calibration, fitted on labelled
pictures set aside, turns their cosines into expected influence; the credit line sums it up by contributor.
The weights and the scale of the label teacher were fitted on half subsets; no model without a contributor was
used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.holders import whole
from creditline.calibration.remainder import CorpusSample
from creditline.calibration.shares import ScoredWork, credit_line, duplicate_groups
from creditline.corpus.works import Corpus
from creditline.distillation.assessment.calibration_fitting import relative_influence
from creditline.distillation.assessment.softmax_fitting import fit_shares
from creditline.distillation.training.feature_store import FeatureStore
from creditline.distillation.training.fitting import train_encoder
from creditline.distillation.training.recipes import OURS, RECIPES
from creditline.encoder.encoder import Side
from creditline.evaluation.lab.judging.groups import GroupScores, write_group_scores
from creditline.evaluation.lab.judging.scoring import SEED
from creditline.evaluation.lab.plan import draw_works
from creditline.evaluation.lab.setting import REFERENCE
from creditline.generator.reference import reference_corpus
from creditline.towers.towers import Towers
from tests.benchmarks.distillation import FEATURES, Bench, open_bench

COMMAND = "python -m tests.benchmarks.served_contributors"
SERVED = REFERENCE / "served.safetensors"
# Shares of all contributors, and those of the contributors whom an answer of ten works names.
SHARES, NAMED = "shares", "shares-named"
_LISTED = 10


def served(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], calibration: Calibration, works: Corpus
) -> dict[str, NDArray[np.float32]]:
    """Shares of all contributors, sorted by name, for each query: name -> (Q, G).

    Args:
        vectors: (N, D) float32, the works' vectors.
        queries: (Q, D) float32, the queries' vectors.
        calibration: Curves from cosine to expected influence.
        works: The works with their contributors.
    """
    names = sorted({work.contributor for work in works})
    holders = [whole(work.contributor) for work in works]
    sample = CorpusSample.draw(works.ids, holders, vectors, seed=0)
    found: dict[str, list[list[float]]] = {SHARES: [], NAMED: []}
    for query in queries:
        for name, listed in ((SHARES, len(works)), (NAMED, _LISTED)):
            shares = _contributor_shares(query, sample, calibration, works, listed)
            found[name].append([shares.get(contributor, 0.0) for contributor in names])
    return {name: np.array(values, dtype=np.float32) for name, values in found.items()}


def _contributor_shares(
    query: NDArray[np.float32], sample: CorpusSample, calibration: Calibration, works: Corpus, listed: int
) -> Mapping[str, float]:
    """Shares of the contributors that an answer names; `listed`: number of works that it lists."""
    cosines = sample.vectors @ query
    calibration = calibration.for_query(float(cosines.max()))
    first = np.argsort(-cosines, kind="stable")[:listed]
    expected = calibration.expected_influence(cosines[first])
    scored = [
        ScoredWork(
            work.id, whole(work.contributor), work.duplicate_group, float(cosines[row]), float(influence)
        )
        for row, influence in zip(first, expected, strict=True)
        for work in (works.works[int(row)],)
    ]
    holders = {work.work_id: work.holders for work in scored}
    line = credit_line(duplicate_groups(scored), sample.others(query, calibration, holders))
    return {share.name: share.share for share in line.contributors}


def students_shares(bench: Bench, works: Corpus) -> dict[str, NDArray[np.float32]]:
    """Train our recipe's student, calibrate it as a release is, and share the lab's queries."""
    encoder = train_encoder(bench.train, [RECIPES[OURS]], seed=SEED).encoder
    vectors = encoder.encode_features(bench.train.works, Side.WORK)
    aside, lab = (encoder.encode_features(each, Side.QUERY) for each in (bench.aside.queries, bench.lab))
    calibration = fit_shares(aside @ vectors.T, relative_influence(bench.aside.influence))
    return served(vectors, lab, calibration, works)


def main() -> None:
    bench = open_bench(FeatureStore(Towers.open(), FEATURES, print))
    works, _ = draw_works(reference_corpus(), bench.record.plan)
    values = students_shares(bench, works)
    names: Sequence[str] = sorted({work.contributor for work in works})
    scores = GroupScores(tuple(names), values, bench.rows, bench.record.fingerprints)
    write_group_scores(scores, SERVED)
    print(f"{len(names)} contributors, {len(bench.rows)} queries: {SERVED}")


if __name__ == "__main__":
    main()
