"""The consensus of several methods, on hand-made scores and with real methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.ensembles.consensus import Consensus, Sharpened, consensus, standardised
from creditline.attribution.methods.similarity import PixelSimilarity, RandomScores
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery


def test_standardised_scores_have_mean_0_and_spread_1_for_each_query() -> None:
    found = standardised(np.array([[1.0, 2.0, 3.0], [10.0, 40.0, 10.0]]))
    assert found.mean(axis=1) == pytest.approx([0.0, 0.0])
    assert found.std(axis=1) == pytest.approx([1.0, 1.0])
    assert found[0] == pytest.approx(np.sqrt(1.5) * np.array([-1.0, 0.0, 1.0]))


def test_a_query_with_equal_scores_has_standardised_scores_of_0() -> None:
    assert standardised(np.full((1, 4), 7.0)).tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_scale_and_offset_of_a_method_do_not_matter() -> None:
    draw = np.random.default_rng(1)
    first, second = draw.normal(size=(2, 3, 9))
    assert consensus([first, second], (1.0, 2.0)) == pytest.approx(
        consensus([100.0 * first + 5.0, second], (1.0, 2.0))
    )


def test_a_weight_of_0_leaves_a_method_out() -> None:
    draw = np.random.default_rng(1)
    first, second = draw.normal(size=(2, 3, 9))
    assert consensus([first, second], (1.0, 0.0)) == pytest.approx(standardised(first))


def test_sharpened_scores_keep_their_order_and_sign(random_generator: Generator, tmp_path: Path) -> None:
    works, queries = (random_gallery(random_generator, kind, 4) for kind in ("work", "query"))
    plain, sharp = PixelSimilarity(8), Sharpened("sharp", PixelSimilarity(8), 4.0)
    for method in (plain, sharp):
        method.prepare(works, tmp_path)
    expected = plain.scores(queries)
    found = sharp.scores(queries)
    assert found == pytest.approx(np.sign(expected) * expected**4)
    assert sharp.bytes_per_work == plain.bytes_per_work


def test_a_consensus_costs_what_its_members_cost(random_generator: Generator, tmp_path: Path) -> None:
    works, queries = (random_gallery(random_generator, kind, 4) for kind in ("work", "query"))
    members = [PixelSimilarity(8), RandomScores(3)]
    joined = Consensus("joined", members, (2.0, 1.0))
    joined.prepare(works, tmp_path)
    found = joined.scores(queries)
    assert found == pytest.approx(consensus([member.scores(queries) for member in members], (2.0, 1.0)))
    assert joined.bytes_per_work == sum(member.bytes_per_work for member in members)
