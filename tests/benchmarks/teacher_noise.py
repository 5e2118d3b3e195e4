"""How much of the first-order teacher is noise: it labels twice, with other noise for queries *and* works.

The ceiling in `encoder.json` draws the queries' noise again only; here nothing is shared. Beside the draws
that are used: as many that are not mirrored, and half as many. Run
`python -m tests.benchmarks.teacher_noise` (about 4 minutes, 2 cores).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from creditline.attribution.fisher.key_value import ekfac_fisher
from creditline.attribution.gradients.key_value import (
    GradientFactors,
    gradient_factors,
    key_value_projections,
    output_widths,
)
from creditline.attribution.unlearning.teacher import (
    QUERY_DRAWS,
    WORK_DRAWS,
    Query,
    encode_queries,
    encode_works,
)
from creditline.evaluation.agreement import ndcg_at_k
from creditline.evaluation.bootstrap import bootstrap_mean, paired_difference
from creditline.generator.losses import Draws, Examples
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from tests.benchmarks.reference_parts import generator_directory, parts_arguments
from tests.benchmarks.result_files import Figure, write_result

SEED = 13
WORKS = 200
QUERIES = 40
DEPTH = 50
COMMAND = "python -m tests.benchmarks.teacher_noise"


@dataclass(frozen=True)
class Drawing:
    """How works and queries are drawn in one row of the table."""

    name: str
    works: Draws
    queries: Draws


DRAWINGS = (
    Drawing("mirrored", WORK_DRAWS, QUERY_DRAWS),
    Drawing("plain", replace(WORK_DRAWS, mirrored=False), replace(QUERY_DRAWS, mirrored=False)),
    Drawing(
        "plain_half",
        replace(WORK_DRAWS, mirrored=False, repeats=WORK_DRAWS.repeats // 2),
        replace(QUERY_DRAWS, mirrored=False),
    ),
)


def _examples(generator: Generator) -> tuple[Examples, Examples]:
    """Random works, and pictures made from other works' captions."""
    corpus = reference_corpus()
    order = np.random.default_rng(SEED).permutation(len(corpus))
    works = [corpus.works[row] for row in order[:WORKS]]
    prompts = [corpus.works[row].caption for row in order[WORKS : WORKS + QUERIES]]
    pictures = generator.sample(prompts, [SEED * 1000 + number for number in range(QUERIES)])
    queries = [
        Query(f"noise-{number}", picture, prompt)
        for number, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True))
    ]
    return encode_works(generator, works), encode_queries(generator, queries)


def _influence(generator: Generator, works: GradientFactors, queries: GradientFactors) -> NDArray[np.float32]:
    """First-order influence up to each query's scale, which no measure here sees: (Q, W) float32."""
    dense = works.dense()
    widths = output_widths(key_value_projections(generator.unet))
    fisher = ekfac_fisher(lambda: [(works.outputs, works.text)], widths)
    directions = torch.stack([fisher.natural(gradient).flatten() for gradient in queries.dense()])
    influence: NDArray[np.float32] = (directions @ dense.flatten(1).T).numpy()
    return influence


def _twice(
    generator: Generator, drawing: Drawing, works: Examples, queries: Examples
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two labellings that share no noise."""
    first, second = (
        _influence(
            generator,
            gradient_factors(generator, works, replace(drawing.works, salt=f"noise-{again}")),
            gradient_factors(generator, queries, replace(drawing.queries, salt=f"noise-query-{again}")),
        )
        for again in range(2)
    )
    return first, second


def _by_query(
    measure: Callable[[NDArray[np.float32], NDArray[np.float32]], float],
    pair: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> NDArray[np.float64]:
    return np.array([measure(one, other) for one, other in zip(*pair, strict=True)])


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def _figures(
    drawing: Drawing, correlation: NDArray[np.float64], ndcg: NDArray[np.float64]
) -> dict[str, Figure]:
    how = (
        f"{drawing.works.repeats} draws a timestep of a work{', mirrored' if drawing.works.mirrored else ''}"
    )
    measured = {
        f"correlation_{drawing.name}": (correlation, "Pearson correlation"),
        f"ndcg{DEPTH}_{drawing.name}": (ndcg, f"nDCG@{DEPTH}"),
    }
    figures = {}
    for key, (values, measure) in measured.items():
        mean = bootstrap_mean(values, seed=SEED)
        what = f"{measure} of two labellings that share no noise: {how}"
        figures[key] = Figure(mean.value, "", mean.low, mean.high, None, what)
    return figures


def main() -> None:
    """Measure and write `teacher-noise.json`."""
    arguments = parts_arguments(__doc__).parse_args()
    figures: dict[str, Figure] = {}
    correlations = {}
    with Generator.open(generator_directory(arguments.generator)) as generator:
        works, queries = _examples(generator)
        for drawing in DRAWINGS:
            pair = _twice(generator, drawing, works, queries)
            correlations[drawing.name] = _by_query(_correlation, pair)
            ndcg = _by_query(lambda one, other: ndcg_at_k(one, other, DEPTH), pair)
            figures |= _figures(drawing, correlations[drawing.name], ndcg)
            print(f"{drawing.name}: correlation {correlations[drawing.name].mean():.3f}", flush=True)
    gain = paired_difference(correlations["mirrored"], correlations["plain"], seed=SEED)
    figures["mirrored_gain"] = Figure(
        gain.value, "", gain.low, gain.high, None, "correlation, mirrored less plain, as many draws"
    )
    rows = [
        {"query": number, **{name: float(values[number]) for name, values in correlations.items()}}
        for number in range(QUERIES)
    ]
    write_result("teacher-noise", COMMAND, SEED, figures, rows)


if __name__ == "__main__":
    main()
