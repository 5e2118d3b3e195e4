"""Effects of removals, on hand-made records with known results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.errors import InvalidInput
from creditline.evaluation.lab.plan import LabPlan, LabQuery
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lab.removal.counterfactuals import (
    Counterfactuals,
    feature_distance,
    mean_squared_error,
    structural_dissimilarity,
)
from creditline.evaluation.lab.removal.removals import Removal, RemovalRecord

_QUERIES = ("first", "second")


def flat(value: int) -> NDArray[np.uint8]:
    return np.full((8, 8, 3), value, dtype=np.uint8)


def lab_record() -> LabRecord:
    """Two queries whose pictures are black; at both timesteps the mean loss is 1 and 10."""
    return LabRecord(
        plan=LabPlan(),
        generator="generator",
        corpus="corpus",
        work_ids=tuple("abcd"),
        queries=tuple(LabQuery(name, "generated", "a prompt", 1) for name in _QUERIES),
        subsets=np.ones((2, 4), dtype=bool),
        losses=np.broadcast_to(np.array([1.0, 10.0], dtype=np.float32), (2, 2, 2, 2)).copy(),
        pictures=np.stack([flat(0), flat(0)]),
        latents=np.zeros((2, 1, 2, 2), dtype=np.float32),
    )


@pytest.fixture
def record() -> LabRecord:
    return lab_record()


@pytest.fixture
def removals() -> RemovalRecord:
    """Loss and picture of each query, by removal: (first, second)."""
    listed = [
        (Removal("nothing-1", "nothing", "", (), _QUERIES, 1), (1.0, 1.0), (10, 10)),
        (Removal("nothing-2", "nothing", "", (), _QUERIES, 2), (1.2, 1.0), (10, 10)),
        (Removal("random-0", "random", "", (0,), _QUERIES), (1.2, 1.1), (20, 20)),
        (Removal("random-1", "random", "", (1,), _QUERIES), (1.2, 1.1), (40, 20)),
        (Removal("ours-first", "ours", "first", (2,), ("first",)), (1.7, 1.0), (30,)),
        (Removal("ours-second", "ours", "second", (3,), ("second",)), (1.0, 1.6), (20,)),
        (Removal("contributor-00", "contributor", "Ada", (0, 1), ()), (1.1, 3.0), ()),
        (Removal("contributor-01", "contributor", "Bob", (2,), ()), (1.3, 1.0), ()),
        (Removal("contributor-01-seed-2", "contributor", "Bob", (2,), (), 2), (1.5, 1.2), ()),
    ]
    losses = [[[loss, 10.0 * loss] for loss in pair] for _, pair, _ in listed]
    pictures = tuple(
        {query: flat(shade) for query, shade in zip(removal.queries, shades, strict=True)}
        for removal, _, shades in listed
    )
    return RemovalRecord(
        tuple(removal for removal, _, _ in listed), np.array(losses, dtype=np.float32), pictures
    )


@pytest.fixture
def found(record: LabRecord, removals: RemovalRecord) -> Counterfactuals:
    return Counterfactuals(record, removals)


def test_losses_are_compared_with_models_of_all_works_from_other_seeds(found: Counterfactuals) -> None:
    """Untouched models have 1.1 and 1.0 of the mean loss, at every timestep."""
    assert found.loss_changes("ours") == pytest.approx([0.6, 0.6], abs=1e-6)
    assert found.random_loss_changes(_QUERIES) == pytest.approx([0.1, 0.1], abs=1e-6)
    assert found.over_random("ours").value == pytest.approx(6.0, rel=1e-4)


def test_a_contributors_changes_cover_every_query(found: Counterfactuals) -> None:
    changes = found.contributor_changes()
    assert list(changes) == ["Ada", "Bob"]
    assert changes["Ada"] == pytest.approx([0.0, 2.0], abs=1e-6)


def test_changes_of_several_seeds_are_averaged(found: Counterfactuals) -> None:
    assert found.contributor_changes()["Bob"] == pytest.approx([0.3, 0.1], abs=1e-6)


def test_auroc_counts_how_often_a_picture_changed_more_than_without_random_works(
    found: Counterfactuals,
) -> None:
    """First: 30 beats 20 but not 40, a half; second: 20 ties with both, a half."""
    assert found.auroc("ours", mean_squared_error).value == pytest.approx(0.5)


def test_methods_are_those_whose_removals_are_for_single_queries(found: Counterfactuals) -> None:
    assert found.methods() == ["ours"]
    assert found.queries("ours") == ["first", "second"]


def test_the_change_of_a_picture_is_in_units_of_full_contrast() -> None:
    assert mean_squared_error(flat(0), flat(255)) == 1.0
    assert mean_squared_error(flat(7), flat(7)) == 0.0
    assert structural_dissimilarity(flat(7), flat(7)) == pytest.approx(0.0)
    noise = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert structural_dissimilarity(noise, 255 - noise) > 0.5


def test_pictures_are_compared_with_the_model_of_all_works_of_the_same_seed(found: Counterfactuals) -> None:
    expected = (30 - 10) ** 2 / 255**2, (20 - 10) ** 2 / 255**2
    changes = found.picture_changes("ours", mean_squared_error)
    assert [change for one in changes for change in one.values()] == pytest.approx(expected)
    assert len(found.picture_changes("nothing", mean_squared_error)) == 1


def test_a_towers_distance_is_that_of_its_features() -> None:
    brightness = feature_distance(
        lambda pictures: np.array([[np.asarray(one).mean(), 255.0] for one in pictures], dtype=np.float32)
    )
    assert brightness(flat(9), flat(9)) == pytest.approx(0.0, abs=1e-7)
    assert brightness(flat(0), flat(255)) == pytest.approx(1.0 - 0.5**0.5, abs=1e-6)


def test_missing_controls_are_refused(record: LabRecord, removals: RemovalRecord) -> None:
    def without(reason: str) -> Counterfactuals:
        kept = [row for row, removal in enumerate(removals.removals) if removal.reason != reason]
        return Counterfactuals(
            record,
            replace(
                removals,
                removals=tuple(removals.removals[row] for row in kept),
                losses=removals.losses[kept],
                pictures=tuple(removals.pictures[row] for row in kept),
            ),
        )

    with pytest.raises(InvalidInput, match="no model of all works"):
        without("nothing").loss_changes("ours")
    with pytest.raises(InvalidInput, match="no model without random works"):
        without("random").auroc("ours", mean_squared_error)
