"""Agreement of re-ranked answers with the teacher, on held-out queries of the reference corpus.

First `cp -r services/creditline/distillation/reference runs/reranked` and `creditline release rerank
runs/reranked --labels tests/benchmarks/reference-labels` (twenty minutes of one core), then
`python -m tests.benchmarks.reranked --release runs/reranked` (seconds), which adds to `rerank.json`. The
weight of the cosine is chosen on one half of the queries and judged on the other, both ways.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.distillation.assessment.held_out import encoder_cosines
from creditline.distillation.assessment.reranking_fitting import RankedQueries, crossed_gain
from creditline.distillation.release.reranking import HELD_OUT_SCORES
from creditline.distillation.training.feature_store import FeatureStore
from creditline.encoder.encoder import Encoder
from creditline.release import ENCODER, RERANKING_ROWS, Release, open_release
from creditline.towers.towers import Towers
from tests.benchmarks.distillation import FEATURES
from tests.benchmarks.fast_form import Bench, ceiling_figures, ceiling_of, open_bench
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "python -m tests.benchmarks.reranked --release DIR"
SEED = 5


def ranked_queries(bench: Bench, release: Release) -> RankedQueries:
    """Held-out queries with the cosines, and with the scores that `creditline release rerank` left."""
    directory = release.directory.with_name(f"{release.directory.name}.rerank")
    kernel: NDArray[np.float32] = np.load(directory / f"{HELD_OUT_SCORES}.npy")
    cosines = encoder_cosines(Encoder.load(release.directory / ENCODER), bench.held_out)
    return RankedQueries(cosines, kernel, bench.held_out.relative)


def figures(bench: Bench, queries: RankedQueries, bytes_per_work: float) -> dict[str, Figure]:
    """The re-ranked form over the teacher's agreement with itself, beside the fast one."""
    gain = crossed_gain(queries, seed=SEED)
    everything = np.ones_like(bench.mixed)
    wanted = {
        "ndcg100_of_ceiling": (gain.reranked, everything, ">= 0.92", "re-ranked answers"),
        "mixed_of_ceiling": (gain.reranked, bench.mixed, None, "the same on prompts of two titles"),
        "single_of_ceiling": (gain.reranked, ~bench.mixed, None, "the same on prompts of one caption"),
        "fast_of_ceiling": (gain.fast, everything, None, "fast answers of the same release"),
    }
    found = ceiling_figures(ceiling_of(bench.held_out), wanted)
    found["bytes_per_work"] = Figure(bytes_per_work, "bytes", what="of the file of rows (a count)")
    return found


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", type=Path, required=True, help="release with gradient rows")
    release = open_release(parser.parse_args().release)
    bench = open_bench(FeatureStore(Towers.open(), FEATURES, print))
    size = (release.directory / RERANKING_ROWS).stat().st_size / len(release.work_ids())
    found = figures(bench, ranked_queries(bench, release), size)
    for key, figure in found.items():
        print(f"{key}: {figure.value:.4f} ({figure.low} to {figure.high}) {figure.target or ''}")
    write_result("rerank", COMMAND, SEED, found, merge=True)


if __name__ == "__main__":
    main()
