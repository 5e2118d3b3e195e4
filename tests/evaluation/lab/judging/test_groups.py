"""Contributors' agreement, on cases whose answer is known, and their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditline.errors import InvalidInput
from creditline.evaluation.lab.judging.groups import (
    GroupScores,
    group_agreement,
    read_group_scores,
    rows_by_contributor,
    write_group_scores,
)


def test_predictions_with_equal_ranks_agree_by_query_and_by_contributor() -> None:
    measured = np.random.default_rng(1).normal(size=(9, 5))
    found = group_agreement(np.exp(measured), measured)
    assert found.by_query.value == found.by_contributor.value == 1.0


def test_the_number_of_works_does_not_affect_the_agreement_by_contributor() -> None:
    random = np.random.default_rng(2)
    sizes = np.array([1.0, 5.0, 20.0, 80.0])
    measured = sizes + 0.1 * random.normal(size=(30, 4))
    found = group_agreement(np.broadcast_to(sizes, measured.shape), measured)
    assert found.by_query.value == 1.0
    assert found.by_contributor.value == 0.0


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one shape"):
        group_agreement(np.zeros((2, 3)), np.zeros((3, 2)))


def test_a_contributors_rows_are_all_of_its_works() -> None:
    assert rows_by_contributor(["a", "b", "a"], ["b", "a"]) == [[1], [0, 2]]
    with pytest.raises(InvalidInput, match="'c' has no work"):
        rows_by_contributor(["a"], ["c"])


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=(4, 2)).astype(np.float32)
    written = GroupScores(("Ann, Bob", "Cäcilie"), {"guda": values})
    write_group_scores(written, tmp_path / "groups.safetensors")
    read = read_group_scores(tmp_path / "groups.safetensors")
    assert read.contributors == written.contributors
    np.testing.assert_array_equal(read.values["guda"], values)
