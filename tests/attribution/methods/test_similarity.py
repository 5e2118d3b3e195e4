"""Attributors without a model, against plain loops, and the independence of random scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from creditline.attribution.attributor import Gallery, attribute
from creditline.attribution.methods.similarity import (
    Features,
    FeatureSimilarity,
    PixelSimilarity,
    RandomScores,
)
from creditline.errors import InvalidInput, NotReady
from creditline.generator.losses import Examples
from creditline.pictures.preparation import pixels


def _gallery(kind: str, count: int, *, seed: int = 0) -> Gallery:
    random = np.random.default_rng(seed)
    pictures = random.integers(256, size=(count, 12, 12, 3), dtype=np.uint8)
    examples = Examples(
        tuple(f"{kind}-{number}" for number in range(count)),
        torch.from_numpy(random.standard_normal((count, 4, 3, 3), dtype=np.float32)),
        torch.zeros((count, 1, 1)),
    )
    return Gallery(examples, tuple(map(Image.fromarray, pictures)), ("",) * count, f"{kind} {seed}")


def _latents(gallery: Gallery) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = gallery.examples.latents.flatten(1).numpy()
    return rows


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    joint = sum(float(a) * float(b) for a, b in zip(first, second, strict=True))
    lengths = [sum(float(a) ** 2 for a in row) ** 0.5 for row in (first, second)]
    return joint / (lengths[0] * lengths[1])


@pytest.fixture
def works() -> Gallery:
    return _gallery("work", 7)


@pytest.fixture
def queries() -> Gallery:
    return _gallery("query", 3, seed=1)


def test_a_features_score_is_the_cosine_of_each_pair(
    works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    found = attribute(FeatureSimilarity("latents", _latents), works, queries, tmp_path)
    plain = [[_cosine(query, work) for work in _latents(works)] for query in _latents(queries)]
    assert found.values == pytest.approx(np.array(plain), abs=1e-6)
    assert found.cost.bytes_per_work == 4 * 36
    assert found.cost.passes_per_query == 0


def test_a_pixels_score_is_the_correlation_of_each_pair(
    works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    found = attribute(PixelSimilarity(side=5), works, queries, tmp_path)
    plain = [
        [
            np.corrcoef(pixels(query, side=5).ravel(), pixels(work, side=5).ravel())[0, 1]
            for work in works.pictures
        ]
        for query in queries.pictures
    ]
    assert found.values == pytest.approx(np.array(plain), abs=1e-6)
    assert found.cost.bytes_per_work == 4 * 3 * 5 * 5


@pytest.mark.parametrize("attributor", [FeatureSimilarity("latents", _latents), PixelSimilarity()])
def test_a_copy_of_a_work_is_most_like_it(
    works: Gallery, attributor: FeatureSimilarity, tmp_path: Path
) -> None:
    scores = attribute(attributor, works, works, tmp_path).values
    assert scores.argmax(axis=1).tolist() == list(range(len(works)))
    assert scores.diagonal() == pytest.approx(np.ones(len(works)))


def test_a_picture_of_one_colour_has_similarity_0(works: Gallery, tmp_path: Path) -> None:
    picture = Image.new("RGB", (12, 12), (77, 77, 77))
    plain = Gallery(works.examples.rows([0]), (picture,), ("",), "plain")
    assert not attribute(PixelSimilarity(side=12), works, plain, tmp_path).values.any()


@pytest.mark.parametrize(
    "attributor", [RandomScores(3), FeatureSimilarity("latents", _latents), PixelSimilarity()]
)
def test_a_querys_scores_are_the_same_alone_and_among_others(
    works: Gallery, queries: Gallery, attributor: RandomScores | FeatureSimilarity, tmp_path: Path
) -> None:
    together = attribute(attributor, works, queries, tmp_path).values
    for row in range(len(queries)):
        np.testing.assert_array_equal(attributor.scores(queries.rows([row]))[0], together[row])


def test_a_random_score_belongs_to_its_query_its_work_and_the_seed(
    works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    scores = attribute(RandomScores(3), works, queries, tmp_path).values
    backwards = list(range(len(works)))[::-1]
    turned = attribute(RandomScores(3), works.rows(backwards), queries.rows([2, 1, 0]), tmp_path).values
    np.testing.assert_array_equal(turned, scores[::-1, ::-1])
    assert len(np.unique(scores)) == scores.size
    assert not np.isin(attribute(RandomScores(4), works, queries, tmp_path).values, scores).any()


def test_random_scores_are_uniform(tmp_path: Path) -> None:
    works, queries = _gallery("work", 100), _gallery("query", 100)
    scores = attribute(RandomScores(3), works, queries, tmp_path).values
    assert np.histogram(scores, bins=10, range=(0.0, 1.0))[0] / scores.size == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(
    "features",
    [lambda gallery: _latents(gallery)[:-1], lambda gallery: gallery.examples.latents.numpy()],
)
def test_features_that_are_no_row_for_each_picture_are_refused(
    works: Gallery, features: Features, tmp_path: Path
) -> None:
    with pytest.raises(
        InvalidInput, match=r"broken gave features of shape .* for 7 pictures; return one row"
    ):
        FeatureSimilarity("broken", features).prepare(works, tmp_path)


def test_queries_with_another_dimension_than_the_works_are_refused(
    works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    growing = FeatureSimilarity("growing", lambda gallery: _latents(gallery)[:, : len(gallery)])
    growing.prepare(works, tmp_path)
    with pytest.raises(
        InvalidInput, match="3 features for queries but 7 for works; compute both with the same"
    ):
        growing.scores(queries)


def test_pictures_of_no_pixels_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"of 0 pixels; give 1 or more") as refused:
        PixelSimilarity(side=0)
    assert refused.value.field == "side"


@pytest.mark.parametrize("attributor", [RandomScores(0), PixelSimilarity()])
def test_scores_before_the_works_are_known_are_refused(
    queries: Gallery, attributor: RandomScores | FeatureSimilarity
) -> None:
    with pytest.raises(NotReady, match="call prepare"):
        attributor.scores(queries)
