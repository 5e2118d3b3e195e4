"""Weights of a consensus: on known influences, and the committed ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.attribution.attributor import Cost
from creditline.attribution.methods.hyperparameters import CONSENSUSES
from creditline.errors import InvalidInput
from creditline.evaluation.lab.judging.fitting import committed_consensus, fit_consensus
from creditline.evaluation.lab.judging.scoring import CHOOSING, MethodScores, read_all_scores, read_scores
from creditline.evaluation.lab.judging.weighting import fitted_weights, joined
from creditline.evaluation.lab.record import LabRecord, RecordFingerprints, read_record
from creditline.evaluation.lab.setting import REFERENCE


@pytest.fixture(scope="module")
def record() -> LabRecord:
    return read_record(REFERENCE / "record.safetensors")


def scores_of(name: str, values: np.ndarray, rows: tuple[int, ...]) -> MethodScores:
    made_from = RecordFingerprints("generator", "record")
    return MethodScores(name, rows, values.astype(np.float32), Cost(1.0, 2.0, 3.0, 4.0), made_from)


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


def members_of(name: str, record: LabRecord) -> list[MethodScores]:
    """The committed scores of a consensus's members."""
    return [
        read_scores(REFERENCE / "scores" / f"{member}.safetensors", record) for member in CONSENSUSES[name]
    ]


def test_judging_subsets_do_not_affect_the_weights(record: LabRecord) -> None:
    spoilt = record.losses.copy()
    spoilt[CHOOSING:] *= np.random.default_rng(1).uniform(0.9, 1.1, spoilt[CHOOSING:].shape)
    # A timestep's mean over all models is its unit: put back what the spoiling did to it.
    spoilt *= record.losses.mean(axis=(0, 1, 2)) / spoilt.mean(axis=(0, 1, 2))
    members = members_of("consensus", record)
    expected = fitted_weights(record, members)
    assert fitted_weights(replace(record, losses=spoilt), members) == pytest.approx(expected, abs=0.02)


@pytest.fixture(scope="module")
def committed(record: LabRecord) -> dict[str, MethodScores]:
    return read_all_scores(REFERENCE / "scores", record)


@pytest.mark.parametrize("name", CONSENSUSES)
def test_the_committed_weights_are_those_that_the_committed_scores_give(
    record: LabRecord, committed: dict[str, MethodScores], name: str
) -> None:
    assert fit_consensus(name, record, committed).agrees_with(committed_consensus(name))


def test_a_consensus_that_does_not_exist_is_refused(record: LabRecord) -> None:
    with pytest.raises(InvalidInput, match="unknown consensus 'astrology'; choose one of consensus, "):
        fit_consensus("astrology", record, {})


def test_a_consensus_covers_what_all_its_members_scored_and_costs_their_sum() -> None:
    draw = np.random.default_rng(5)
    first = scores_of("first", draw.normal(size=(3, 6)), (4, 7, 9))
    second = scores_of("second", draw.normal(size=(2, 6)), (9, 4))
    found = joined("both", [first, second], (1.0, 0.0))
    assert found.rows == (4, 9)
    assert np.argsort(found.values[1]).tolist() == np.argsort(first.values[2]).tolist()
    assert found.cost == Cost(2.0, 4.0, 6.0, 8.0)
