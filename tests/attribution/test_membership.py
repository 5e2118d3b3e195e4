"""Training works are distinguished from other pictures by their losses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from creditline.attribution.membership import Membership, own_losses
from creditline.attribution.unlearning.teacher import encode_works
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.pipeline import Generator


def losses(count: int, seed: int, *, lower: float = 0.0) -> np.ndarray:
    """Losses at four timesteps; those of members are lower at the last two."""
    random = np.random.default_rng(seed)
    logs = random.normal(size=(count, 4)) - lower * np.array([0.0, 0.0, 1.0, 1.0])
    return np.exp(logs)


def fitted() -> Membership:
    return Membership.fit(losses(400, 1, lower=2.0), losses(60, 2))


def test_members_are_distinguished_from_non_members_outside_the_fit() -> None:
    members, non_members = losses(200, 3, lower=2.0), losses(200, 4)
    probabilities = fitted().probability(np.concatenate([members, non_members]))
    assert roc_auc_score([1] * 200 + [0] * 200, probabilities) > 0.95
    assert probabilities[:200].mean() > 0.8 > 0.2 > probabilities[200:].mean()


def test_where_losses_are_alike_the_probability_stays_at_the_odds() -> None:
    same = Membership.fit(losses(400, 1), losses(60, 2)).probability(losses(300, 3))
    assert same.mean() == pytest.approx(0.5, abs=0.1)
    assert same.std() < 0.2


def test_a_works_probability_does_not_depend_on_the_batch() -> None:
    membership, asked = fitted(), losses(5, 9)
    alone = [membership.probability(row[None])[0] for row in asked]
    np.testing.assert_allclose(membership.probability(asked), alone, rtol=1e-12)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_values_that_are_no_losses_are_refused(bad: float) -> None:
    given = losses(5, 1)
    given[2, 1] = bad
    with pytest.raises(InvalidInput, match="positive numbers"):
        fitted().probability(given)


def test_too_few_non_members_and_other_timesteps_are_refused() -> None:
    with pytest.raises(InvalidInput, match="9 non-members are too few"):
        Membership.fit(losses(50, 1), losses(9, 2))
    with pytest.raises(InvalidInput, match="3 timesteps were given, 4"):
        fitted().probability(losses(5, 1)[:, :3])


def test_own_losses_belong_to_the_work_and_not_to_the_batch(
    random_generator: Generator, small_corpus: Corpus
) -> None:
    works = encode_works(random_generator, small_corpus.works[:3])
    together = own_losses(random_generator, works)
    assert together.shape == (3, 10)
    assert (together > 0).all()
    alone = own_losses(random_generator, works.rows([1]))
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-4)
