"""Weights of a consensus: on known influences, and the committed ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.attribution.attributor import Cost
from creditline.attribution.methods.hyperparameters import CONSENSUSES
from creditline.evaluation.lab.judging.scoring import CHOOSING, MethodScores, read_scores
from creditline.evaluation.lab.judging.weighting import fitted_weights, joined
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.setting import REFERENCE


@pytest.fixture(scope="module")
def record() -> LabRecord:
    return read_record(REFERENCE / "record.safetensors")


def scores_of(name: str, values: np.ndarray, rows: tuple[int, ...]) -> MethodScores:
    return MethodScores(name, rows, values.astype(np.float32), Cost(1.0, 2.0, 3.0, 4.0))


def test_a_perfect_predictor_gets_all_the_weight(record: LabRecord) -> None:
    draw = np.random.default_rng(5)
    works, rows = len(record.work_ids), tuple(range(10))
    truth, noise = draw.normal(size=(2, 10, works))
    losses = record.losses.copy()
    predicted = record.subsets @ truth.T
    losses[:, :, :10] = (100.0 - predicted)[:, None, :, None]
    found = fitted_weights(
        replace(record, losses=losses), [scores_of("noise", noise, rows), scores_of("truth", truth, rows)]
    )
    assert found[1] == 1.0
    assert found[0] < 0.05


def members_of(name: str) -> list[MethodScores]:
    """The committed scores of a consensus's members."""
    return [read_scores(REFERENCE / "scores" / f"{member}.safetensors") for member in CONSENSUSES[name]]


def test_judging_subsets_do_not_affect_the_weights(record: LabRecord) -> None:
    spoilt = record.losses.copy()
    spoilt[CHOOSING:] *= np.random.default_rng(1).uniform(0.9, 1.1, spoilt[CHOOSING:].shape)
    # A timestep's mean over all models is its unit: put back what the spoiling did to it.
    spoilt *= record.losses.mean(axis=(0, 1, 2)) / spoilt.mean(axis=(0, 1, 2))
    members = members_of("consensus")
    expected = fitted_weights(record, members)
    assert fitted_weights(replace(record, losses=spoilt), members) == pytest.approx(expected, abs=0.02)


# Without the text member that they were fitted with, whose weights the others keep (test_label_members).
LABELLING = {"consensus-gradients", "consensus-gradients-attn"}


@pytest.mark.parametrize("name", sorted(set(CONSENSUSES) - LABELLING))
def test_the_committed_weights_are_those_that_the_committed_scores_give(record: LabRecord, name: str) -> None:
    expected = list(CONSENSUSES[name].values())
    assert fitted_weights(record, members_of(name)) == pytest.approx(expected, abs=0.01)


def test_a_consensus_covers_what_all_its_members_scored_and_costs_their_sum() -> None:
    draw = np.random.default_rng(5)
    first = scores_of("first", draw.normal(size=(3, 6)), (4, 7, 9))
    second = scores_of("second", draw.normal(size=(2, 6)), (9, 4))
    found = joined("both", [first, second], (1.0, 0.0))
    assert found.rows == (4, 9)
    assert np.argsort(found.values[1]).tolist() == np.argsort(first.values[2]).tolist()
    assert found.cost == Cost(2.0, 4.0, 6.0, 8.0)
