"""The teacher on the small random generator: real unlearning, its first-order limit, no batch effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from creditline.attribution.gradients.key_value import gradient_factors
from creditline.attribution.unlearning.ascent import RISE
from creditline.attribution.unlearning.teacher import (
    QUERY_DRAWS,
    Query,
    Teacher,
    encode_queries,
    open_teacher,
    prepare_teacher,
    repeated,
)
from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch
from creditline.evaluation.agreement import spearman
from creditline.generator.pipeline import Generator

ROWS = list(range(0, 40, 2))
# So small that the loss is as good as linear along the step, and so large that float32 resolves its changes:
# a tenth of it changes losses near 1 by 1e-7, which is their rounding.
_SMALL_SIZE = 1e-2


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def teacher(random_generator: Generator, small_corpus: Corpus, directory: Path) -> Teacher:
    return prepare_teacher(random_generator, small_corpus, directory, lambda line: None)


@pytest.fixture(scope="module")
def query(small_corpus: Corpus) -> Query:
    """A picture that is no work of the corpus."""
    return Query("query", small_corpus.works[7].picture().rotate(90), "something turned")


def test_a_query_that_is_a_work_is_found_first(teacher: Teacher, small_corpus: Corpus) -> None:
    for row in (4, 21):
        work = small_corpus.works[row]
        scores = teacher.first_order(
            encode_queries(teacher.generator, [Query("self", work.picture(), work.caption)])
        )
        assert int(scores[0].argmax()) == row


def test_the_first_order_score_is_gradient_times_inverse_fisher_times_gradient(
    teacher: Teacher, query: Query
) -> None:
    """Oracle: one work at a time, weight by weight."""
    encoded = encode_queries(teacher.generator, [query])
    factors = gradient_factors(teacher.generator, encoded, QUERY_DRAWS)
    direction = teacher.statistics.fisher.natural(factors.dense()[0])
    slope = float((direction * factors.dense()[0]).sum())
    scale = RISE * float(factors.losses.mean()) / slope
    scores = teacher.first_order(encoded)[0]
    for row in (0, 13, 39):
        work = gradient_factors(teacher.generator, teacher.works.rows([row]), teacher.origin.draws).dense()[0]
        assert scores[row] == pytest.approx(scale * float((direction * work).sum()), rel=1e-2, abs=1e-7)


def test_first_order_scores_are_the_limit_of_real_unlearning(teacher: Teacher, query: Query) -> None:
    """A real step of a small size changes every work's loss by its first-order score times that size."""
    from creditline.attribution.unlearning.ascent import Step

    encoded = encode_queries(teacher.generator, [query])
    factors = gradient_factors(teacher.generator, encoded, QUERY_DRAWS)
    gradient = factors.dense()[0]
    direction = teacher.statistics.fisher.natural(gradient)
    unit = RISE * float(factors.losses.mean()) / float((direction * gradient).sum())
    change = _SMALL_SIZE * unit * direction
    real = teacher.influence_after(Step(change, _SMALL_SIZE * unit, 1.0, 1.0), ROWS) / _SMALL_SIZE
    predicted = teacher.first_order(encoded)[0, ROWS]
    assert spearman(predicted, real) > 0.95
    assert np.corrcoef(predicted, real)[0, 1] > 0.95


def test_influence_does_not_depend_on_the_order_or_number_of_works_asked_for(
    teacher: Teacher, query: Query
) -> None:
    from creditline.attribution.unlearning.ascent import Step

    gradient = gradient_factors(
        teacher.generator, encode_queries(teacher.generator, [query]), QUERY_DRAWS
    ).dense()[0]
    direction = teacher.statistics.fisher.natural(gradient)
    step = Step(direction / direction.norm(), 1.0, 1.0, 1.0)
    together = teacher.influence_after(step, ROWS)
    turned = teacher.influence_after(step, ROWS[::-1])[::-1]
    alone = np.array([teacher.influence_after(step, [row])[0] for row in ROWS[:4]])
    scale = np.abs(together).max()
    assert scale > 0
    np.testing.assert_allclose(turned, together, atol=1e-3 * scale)
    np.testing.assert_allclose(alone, together[:4], atol=1e-3 * scale)


def test_pictures_outside_the_corpus_are_scored_as_works_are(teacher: Teacher, query: Query) -> None:
    """Works given as `others` get the scores that they have as works of the corpus."""
    encoded = encode_queries(teacher.generator, [query])
    scores = teacher.first_order(encoded, others=teacher.works.rows([3, 17]))[0]
    assert scores.shape == (42,)
    np.testing.assert_allclose(scores[40:], scores[[3, 17]], rtol=1e-2, atol=1e-3 * np.abs(scores).max())


def test_queries_are_scored_alike_alone_and_together(
    teacher: Teacher, query: Query, small_corpus: Corpus
) -> None:
    other = Query("other", small_corpus.works[2].picture().rotate(180), "upside down")
    both = teacher.first_order(encode_queries(teacher.generator, [query, other]))
    alone = teacher.first_order(encode_queries(teacher.generator, [other]))
    np.testing.assert_allclose(both[1], alone[0], rtol=1e-2, atol=1e-3 * np.abs(alone).max())


def test_other_noise_gives_other_scores_and_still_finds_a_query_that_is_a_work(
    teacher: Teacher, small_corpus: Corpus
) -> None:
    work = small_corpus.works[21]
    encoded = encode_queries(teacher.generator, [Query("self", work.picture(), work.caption)])
    first = teacher.first_order(encoded)[0]
    second = teacher.first_order(encoded, draws=repeated(QUERY_DRAWS, salt="again"))[0]
    assert not np.allclose(first, second, rtol=1e-3)
    for scores in (first, second):
        assert (scores > scores[21]).sum() < 3, "among the first three of forty"


def test_a_prepared_teacher_is_opened_with_the_same_numbers(
    teacher: Teacher, random_generator: Generator, small_corpus: Corpus, directory: Path, query: Query
) -> None:
    opened = open_teacher(random_generator, small_corpus, directory)
    assert torch.equal(opened.statistics.losses, teacher.statistics.losses)
    encoded = encode_queries(random_generator, [query])
    np.testing.assert_allclose(opened.first_order(encoded), teacher.first_order(encoded), rtol=1e-5)


def test_a_teacher_of_another_corpus_is_refused(
    teacher: Teacher, random_generator: Generator, small_corpus: Corpus, directory: Path
) -> None:
    other = small_corpus.subset(small_corpus.ids[:20], name="half")
    with pytest.raises(FingerprintMismatch, match="creditline teacher prepare"):
        open_teacher(random_generator, other, directory)
