"""Training on a teacher that can be learned."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from creditline.distillation.labels.candidates import CandidatePlan, draw_candidates, inclusion_weights
from creditline.distillation.training.fitting import (
    Examples,
    Mix,
    TrainingPlan,
    best_mix,
    mean_ndcg,
    ndcg_of,
    train_encoder,
)
from creditline.distillation.training.losses import DistillationLoss, Lists, LossKind
from creditline.errors import InvalidInput
from tests.distillation.label_sets import PARTS, learnable_examples

QUICK = TrainingPlan(
    epochs=25,
    works_per_step=100,
    queries_per_step=16,
    learning_rate=3e-3,
    feature_noise=0.05,
    average_decay=0.9,
    hidden=32,
    layers=1,
    width=16,
)


@pytest.mark.parametrize("loss", list(LossKind))
def test_each_loss_learns_what_the_teacher_looks_at(loss: LossKind) -> None:
    plan = dataclasses.replace(QUICK, loss=loss)
    trained = train_encoder(learnable_examples(150, 150, seed=1), [plan], seed=0)
    unseen = learnable_examples(60, 150, seed=2)
    raw = ndcg_of(unseen.queries @ unseen.works.T, unseen.influence)
    assert trained.validation_ndcg > trained.start_ndcg + 0.05
    assert mean_ndcg(trained.encoder, unseen) > raw + 0.05


def test_nested_widths_learn_as_well() -> None:
    plan = dataclasses.replace(QUICK, loss=LossKind.CORRELATION, width=32, nested=(8, 16), reduced=32)
    trained = train_encoder(learnable_examples(150, 150, seed=1), [plan], seed=0)
    unseen = learnable_examples(60, 150, seed=2)
    whole = mean_ndcg(trained.encoder, unseen)
    assert mean_ndcg(trained.encoder.truncated(8), unseen) > whole - 0.03
    raw = ndcg_of(unseen.queries @ unseen.works.T, unseen.influence)
    assert whole > raw + 0.05


def test_the_correlation_loss_counts_strength_and_not_order_alone() -> None:
    """Two students with the same order: the one whose strengths are the teacher's has the lower loss."""
    loss = DistillationLoss(LossKind.CORRELATION, softness=1.0)
    strengths = torch.tensor([[8.0, 1.0, 0.5, 0.2, 0.1]])
    with torch.no_grad():
        right = 1.0 + (strengths / 8.0).log() / loss.log_slope.exp()
    assert loss(right, Lists.of(strengths)).item() == pytest.approx(0.0, abs=1e-5)
    flat = torch.linspace(0.9, 0.5, 5)[None]
    assert loss(flat, Lists.of(strengths)).item() > 0.02


def test_labels_of_pure_chance_give_no_agreement_that_is_not_there() -> None:
    learned = learnable_examples(120, 150, seed=1)
    shuffled = np.random.default_rng(0).permuted(learned.influence, axis=1)
    trained = train_encoder(dataclasses.replace(learned, influence=shuffled), [QUICK], seed=0)
    unseen = learnable_examples(60, 150, seed=2)
    chance = np.random.default_rng(3).permuted(unseen.influence, axis=1)
    random = ndcg_of(np.random.default_rng(4).random(chance.shape, dtype=np.float32), chance)
    assert abs(mean_ndcg(trained.encoder, dataclasses.replace(unseen, influence=chance)) - random) < 0.05


def test_the_better_of_two_plans_is_kept() -> None:
    useless = dataclasses.replace(QUICK, learning_rate=0.0)
    trained = train_encoder(learnable_examples(100, 150, seed=1), [useless, QUICK], seed=0)
    assert trained.plan == QUICK


def test_a_plan_that_never_helps_leaves_the_encoder_as_it_started() -> None:
    useless = dataclasses.replace(QUICK, learning_rate=0.0, patience=1)
    examples = learnable_examples(60, 150, seed=1)
    trained = train_encoder(examples, [useless], seed=0)
    assert trained.epochs == 0
    assert trained.validation_ndcg == trained.start_ndcg


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    examples, plan = (
        learnable_examples(40, 80, seed=1),
        dataclasses.replace(QUICK, epochs=3, works_per_step=40),
    )
    before = torch.random.get_rng_state()
    first, again, other = (
        train_encoder(examples, [plan], seed=seed).encoder.state_dict() for seed in (5, 5, 6)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_too_few_queries_to_set_any_aside_are_refused() -> None:
    with pytest.raises(InvalidInput, match="label more"):
        train_encoder(learnable_examples(2, 20, seed=1), [QUICK], seed=0)


def test_the_mix_finds_the_part_that_the_teacher_looks_at() -> None:
    drawn = learnable_examples(40, 120, seed=3)

    def taught(name: str) -> Examples:
        part = PARTS.slices()[name]
        return dataclasses.replace(drawn, influence=drawn.queries[:, part] @ drawn.works[:, part].T)

    assert best_mix(taught("image")) == Mix(image=1.0, layout=0.0, centred=False)
    assert best_mix(taught("layout")) == Mix(image=0.0, layout=1.0, centred=False)
    assert best_mix(taught("text")) == Mix(image=0.0, layout=0.0, centred=False)


def test_a_blank_picture_whose_layout_is_zero_does_not_spoil_the_mixes() -> None:
    """A corpus of a stranger's: one of 785 stamps is white, so the layout alone gives it no direction."""
    examples = learnable_examples(150, 150, seed=1)
    works, layout = examples.works.copy(), examples.parts.slices()["layout"]
    works[7, layout] = 0.0
    blank = dataclasses.replace(examples, works=works)
    assert best_mix(blank) == best_mix(examples)
    assert train_encoder(blank, [QUICK], seed=0).validation_ndcg > 0.0


def test_lists_are_what_they_say_of_all_works() -> None:
    influence = torch.tensor([[3.0, -1.0, 0.5, 7.0]])
    lists = Lists.of(influence)
    assert lists.rank.tolist() == [[0.75, 0.25, 0.5, 1.0]]
    assert float(lists.standardised.mean()) == pytest.approx(0.0, abs=1e-6)
    assert (lists.positive > 0).tolist() == [[True, False, True, True]]
    part = lists.part(torch.tensor([0]), torch.tensor([3, 0]))
    assert part.rank.tolist() == [[1.0, 0.75]]


@pytest.mark.parametrize("kind", list(LossKind))
def test_each_loss_is_lower_for_the_right_order_than_for_the_wrong_one(kind: LossKind) -> None:
    influence = torch.linspace(-1.0, 2.0, 50).repeat(3, 1)
    loss, lists = DistillationLoss(kind, softness=1.0), Lists.of(influence)
    right = torch.linspace(-0.5, 0.5, 50).repeat(3, 1)
    assert loss(right, lists).item() < loss(right.flip(1), lists).item()


def test_the_rank_loss_is_the_papers_cross_entropy() -> None:
    influence, cosines = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.1, -0.2]])
    loss = DistillationLoss(LossKind.RANK, softness=1.0)
    by_hand = []
    for cosine, rank in ((0.1, 1.0), (-0.2, 0.5)):
        probability = 1.0 / (1.0 + np.exp(-20.0 * cosine))
        by_hand.append(-(rank * np.log(probability) + (1.0 - rank) * np.log(1.0 - probability)))
    assert loss(cosines, Lists.of(influence)).item() == pytest.approx(np.mean(by_hand), rel=1e-4)


@pytest.mark.parametrize("kind", list(LossKind))
def test_where_every_work_stands_for_itself_weights_change_nothing(kind: LossKind) -> None:
    random = torch.Generator().manual_seed(1)
    influence, cosines = torch.randn(4, 80, generator=random), torch.rand(4, 80, generator=random)
    loss = DistillationLoss(kind, softness=1.0)
    weighted = Lists.of(influence, torch.ones(4, 80))
    # Deviations of a whole are divided by N, of a sample by N − 1.
    assert loss(cosines, weighted).item() == pytest.approx(
        loss(cosines, Lists.of(influence)).item(), rel=5e-3
    )


@pytest.mark.parametrize("kind", list(LossKind))
def test_the_loss_of_candidates_is_on_average_near_that_of_all_works(kind: LossKind) -> None:
    random = torch.Generator().manual_seed(2)
    influence, cosines = torch.randn(1, 400, generator=random), torch.rand(1, 400, generator=random)
    loss, all_works = DistillationLoss(kind, softness=1.0), Lists.of(influence)
    with torch.no_grad():
        estimates = []
        for _ in range(200):
            drawn = torch.rand(1, 400, generator=random) < 0.5
            estimates.append(loss(cosines, Lists.of(influence, drawn.float() / 0.5)).item())
        assert np.mean(estimates) == pytest.approx(loss(cosines, all_works).item(), rel=0.02)


def test_labels_outside_the_candidates_do_not_matter() -> None:
    random = torch.Generator().manual_seed(3)
    influence, cosines = torch.randn(2, 50, generator=random), torch.rand(2, 50, generator=random)
    weights = (torch.rand(2, 50, generator=random) < 0.4).float() * 2.5
    other = torch.where(weights > 0, influence, 99.0)
    for kind in LossKind:
        loss = DistillationLoss(kind, softness=1.0)
        ours, theirs = (loss(cosines, Lists.of(labels, weights)).item() for labels in (influence, other))
        assert ours == theirs


def test_a_student_learns_from_candidates_too() -> None:
    drawn, judged = learnable_examples(120, 200, seed=1), learnable_examples(30, 200, seed=2)
    raw = drawn.queries @ drawn.works.T
    inclusion = draw_candidates(raw, CandidatePlan(60, 0, 40), seeds=range(120))
    hidden = np.where(inclusion > 0, drawn.influence, 0.0).astype(np.float32)
    some = dataclasses.replace(drawn, influence=hidden, weights=inclusion_weights(inclusion))
    trained = train_encoder(some, [dataclasses.replace(QUICK, loss=LossKind.CORRELATION)], seed=1)
    assert (
        mean_ndcg(trained.encoder, judged) > ndcg_of(judged.queries @ judged.works.T, judged.influence) + 0.05
    )
