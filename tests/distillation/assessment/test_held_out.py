from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from creditline.distillation.assessment.held_out import CEILING, OURS, RANDOM, HeldOut, assess
from creditline.encoder.encoder import Encoder, EncoderShape, Projection
from tests.distillation.label_sets import FEATURES, PARTS, learnable_examples


def held_out(*, decoys: int = 0) -> HeldOut:
    drawn = learnable_examples(30, 120 + decoys, seed=4)
    repeat = drawn.influence + 0.3 * drawn.influence.std() * np.random.default_rng(5).normal(
        size=drawn.influence.shape
    ).astype(np.float32)
    works = slice(None, 120)
    given = HeldOut(drawn.queries, drawn.works[works], drawn.influence[:, works], PARTS, repeat[:, works])
    if not decoys:
        return given
    return dataclasses.replace(given, decoys=drawn.works[120:], decoy_influence=drawn.influence[:, 120:])


def raw_encoder() -> Encoder:
    """An encoder that gives raw joined features back."""
    identity = np.eye(FEATURES, dtype=np.float32)
    shape = EncoderShape(FEATURES, width=FEATURES, hidden=8, layers=1)
    return Encoder.initial(shape, Projection(identity, np.zeros(FEATURES, dtype=np.float32)), seed=0)


def test_an_encoder_that_changes_nothing_gains_nothing_over_raw_features() -> None:
    assessment = assess(raw_encoder(), held_out(), seed=0)
    ours, raw = assessment.method(OURS), assessment.method("raw joined")
    assert ours.ndcg100.value == pytest.approx(raw.ndcg100.value, abs=1e-4)
    assert assessment.figures["ndcg100_gain"].value <= 1e-4


def test_the_teacher_agrees_with_itself_best_and_chance_agrees_least() -> None:
    assessment = assess(raw_encoder(), held_out(), seed=0)
    values = {method.name: method.ndcg100.value for method in assessment.methods}
    assert max(values, key=values.__getitem__) == CEILING
    assert min(values, key=values.__getitem__) == RANDOM
    wanted = values[OURS] / values[CEILING]
    assert assessment.figures["ndcg100_of_ceiling"].value == pytest.approx(wanted)


def test_decoys_that_are_like_works_get_the_credit_of_works() -> None:
    """Drawn as the works are, 30 decoys beside 120 works are due a fifth of what likeness hands out."""
    figures = assess(raw_encoder(), held_out(decoys=30), seed=0).figures
    for name in ("decoy_share", "decoy_share_similarity", "decoy_share_teacher"):
        assert figures[name].value == pytest.approx(0.2, abs=0.05)
        assert figures[name].low <= figures[name].value <= figures[name].high


def test_decoys_that_the_teacher_finds_without_influence_get_none_from_it() -> None:
    given = held_out(decoys=10)
    assert given.decoy_influence is not None
    blameless = dataclasses.replace(given, decoy_influence=-np.abs(given.decoy_influence))
    figures = assess(raw_encoder(), blameless, seed=0).figures
    assert figures["decoy_share_teacher"].value == 0.0
    assert figures["decoy_share"].value > 0.0


def test_without_decoys_or_repeat_their_figures_are_left_out() -> None:
    bare = dataclasses.replace(held_out(), influence_repeat=None)
    assert not {"decoy_share", "ndcg100_of_ceiling"} & set(assess(raw_encoder(), bare, seed=0).figures)
