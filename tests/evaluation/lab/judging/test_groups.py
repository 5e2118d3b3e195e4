"""Contributors' agreement, on cases whose answer is known, and their file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.evaluation.lab.judging.groups import (
    GroupJudge,
    GroupScores,
    joined_contributors,
    read_group_scores,
    rows_by_contributor,
    spearman_by_row,
    write_group_scores,
)
from creditline.evaluation.lab.record import LabRecord, RecordFingerprints
from tests.evaluation.lab.removal.test_counterfactuals import lab_record


def test_predictions_with_equal_ranks_agree_by_query_and_by_contributor() -> None:
    measured = np.random.default_rng(1).normal(size=(9, 5))
    found = GroupJudge(measured, resamples=50).agreement(np.exp(measured))
    assert found.by_query.value == pytest.approx(1.0)
    assert found.by_contributor.value == pytest.approx(1.0)


def test_the_number_of_works_does_not_affect_the_agreement_by_contributor() -> None:
    random = np.random.default_rng(2)
    sizes = np.array([1.0, 5.0, 20.0, 80.0])
    measured = sizes + 0.1 * random.normal(size=(30, 4))
    found = GroupJudge(measured, resamples=50).agreement(np.broadcast_to(sizes, measured.shape))
    assert found.by_query.value == pytest.approx(1.0)
    assert found.by_contributor.value == 0.0


def test_rank_correlations_are_those_of_scipy_with_ties_too() -> None:
    random = np.random.default_rng(3)
    first, second = random.integers(4, size=(6, 12)).astype(float), random.normal(size=(6, 12))
    expected = [spearmanr(one, other).statistic for one, other in zip(first, second, strict=True)]
    np.testing.assert_allclose(spearman_by_row(first, second), expected, rtol=1e-12)


def test_the_interval_of_a_gain_covers_it_and_is_narrower_than_those_of_its_parts() -> None:
    """Both predictions share most of their error, which a paired comparison takes out."""
    random = np.random.default_rng(4)
    measured = random.normal(size=(40, 12))
    shared = measured + 1.5 * random.normal(size=measured.shape)
    ours, theirs = shared, shared + 0.3 * random.normal(size=measured.shape)
    judge = GroupJudge(measured, resamples=300)
    gain, one, other = judge.gain(ours, theirs), judge.agreement(ours), judge.agreement(theirs)
    assert gain.by_query.value == pytest.approx(one.by_query.value - other.by_query.value)
    assert gain.by_query.low < gain.by_query.value < gain.by_query.high
    assert gain.by_query.high - gain.by_query.low < one.by_query.high - one.by_query.low


def test_shapes_that_differ_and_effects_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one shape"):
        GroupJudge(np.zeros((3, 2))).agreement(np.zeros((2, 3)))
    with pytest.raises(InvalidInput, match="finite"):
        GroupJudge(np.full((3, 2), np.nan))


def test_a_contributors_rows_are_all_of_its_works() -> None:
    assert rows_by_contributor(["a", "b", "a"], ["b", "a"]) == [[1], [0, 2]]
    with pytest.raises(InvalidInput, match="'c' has no work"):
        rows_by_contributor(["a"], ["c"])


@pytest.fixture
def record() -> LabRecord:
    return lab_record()


@pytest.fixture
def scores(record: LabRecord) -> GroupScores:
    values = np.random.default_rng(3).normal(size=(4, 2)).astype(np.float32)
    return GroupScores(("Ann, Bob", "Cäcilie"), {"guda": values}, (0, 2, 3, 5), record.fingerprints)


def test_scores_are_read_as_they_were_written(record: LabRecord, scores: GroupScores, tmp_path: Path) -> None:
    write_group_scores(scores, tmp_path / "groups.safetensors")
    read = read_group_scores(tmp_path / "groups.safetensors", record, "make lab")
    assert (read.contributors, read.rows, read.made_from) == (
        scores.contributors,
        scores.rows,
        scores.made_from,
    )
    np.testing.assert_array_equal(read.values["guda"], scores.values["guda"])


def test_scores_of_another_record_are_refused(record: LabRecord, scores: GroupScores, tmp_path: Path) -> None:
    other = RecordFingerprints("another", record.fingerprints.record)
    write_group_scores(replace(scores, made_from=other), tmp_path / "groups.safetensors")
    with pytest.raises(
        FingerprintMismatch,
        match="holds scores for another generator or record; make it again with `make lab`",
    ) as error:
        read_group_scores(tmp_path / "groups.safetensors", record, "make lab")
    assert error.value.field == "lab"


def test_scores_are_found_by_query_and_contributor(scores: GroupScores) -> None:
    found = scores.of("guda", [5, 0], ["Cäcilie"])
    np.testing.assert_array_equal(found, scores.values["guda"][[3, 0]][:, [1]])
    for rows, contributors, missing in (([1], ["Cäcilie"], "'1'"), ([0], ["Dora"], "'Dora'")):
        with pytest.raises(InvalidInput, match=missing):
            scores.of("guda", rows, contributors)


def test_contributors_of_two_files_are_joined_unless_they_are_the_same(scores: GroupScores) -> None:
    other = replace(scores, contributors=("Dora", "Emil"))
    found = joined_contributors(scores, other)
    assert found.contributors == ("Ann, Bob", "Cäcilie", "Dora", "Emil")
    np.testing.assert_array_equal(found.of("guda", scores.rows, ["Emil"])[:, 0], scores.values["guda"][:, 1])
    with pytest.raises(InvalidInput, match="'Ann, Bob' is in both"):
        joined_contributors(scores, scores)
    with pytest.raises(InvalidInput, match="same queries"):
        joined_contributors(scores, replace(other, rows=(0, 1, 2, 3)))
