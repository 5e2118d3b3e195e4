"""Makes `kronfluence.safetensors`: influence by kronfluence's EK-FAC, by layer, on the tests' generator.

Run it from the repository's root with an interpreter that has kronfluence (1.0.1 made what is committed) and
this package's own dependencies: `python -m tests.attribution.oracles.kronfluence_scores`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from creditline.generator.pipeline import Generator
from tests.attribution.oracles.kronfluence_setting import DRAW, ORACLE, QUERIES, WORKS
from tests.benchmarks.rivals.kronfluence_task import SCORES, NoisyLatents, analyzer_of, fit_factors
from tests.generator_factory import random_generator
from tests.random_galleries import random_gallery


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as scratch,
        Generator.open(random_generator(Path(scratch) / "random")) as generator,
    ):
        works, queries = (
            NoisyLatents(generator, random_gallery(generator, kind, count).examples, DRAW)
            for kind, count in (("work", WORKS), ("query", QUERIES))
        )
        analyzer = analyzer_of(generator, Path(scratch))
        fit_factors(analyzer, works, WORKS)
        analyzer.compute_pairwise_scores(
            "scores",
            factors_name="ekfac",
            query_dataset=queries,
            train_dataset=works,
            per_device_query_batch_size=QUERIES,
            per_device_train_batch_size=WORKS,
            score_args=SCORES,
        )
        scores = analyzer.load_pairwise_scores("scores")
    save_file({name: values.float().contiguous() for name, values in scores.items()}, ORACLE)
    print(f"{len(scores)} layers in {ORACLE}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
