"""Records of removals that are extended by the removals they lack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.evaluation.lab.removal.extending import extended, missing_removals
from creditline.evaluation.lab.removal.removals import Removal, RemovalRecord

ADA, BOB, EVE = (
    Removal(f"contributor-{number:02d}", "contributor", name, (number, number + 5), ())
    for number, name in enumerate(("Ada", "Bob", "Eve"))
)


def record(*removals: Removal, timesteps: int = 4) -> RemovalRecord:
    losses = np.random.default_rng(len(removals)).random((len(removals), 3, timesteps), dtype=np.float32)
    return RemovalRecord(removals, losses, tuple({} for _ in removals))


def test_only_removals_that_the_record_lacks_are_missing() -> None:
    assert missing_removals(record(BOB), (ADA, BOB, EVE)) == [ADA, EVE]
    assert missing_removals(record(ADA, BOB, EVE), (BOB,)) == []


def test_a_removal_of_one_name_with_other_works_or_seed_is_refused() -> None:
    for other in (replace(BOB, rows=(9,)), replace(BOB, seed=2)):
        with pytest.raises(FingerprintMismatch, match="'contributor-01' leaves out other works"):
            missing_removals(record(other), (ADA, BOB))


def test_an_extended_record_holds_both_each_with_its_own_losses() -> None:
    first, second = record(BOB), record(ADA, EVE)
    found = extended(first, second)
    assert found.removals == (BOB, ADA, EVE)
    np.testing.assert_array_equal(found.losses, np.concatenate([first.losses, second.losses]))
    assert len(found.pictures) == 3


def test_records_that_share_a_removal_or_are_of_other_labs_are_not_joined() -> None:
    with pytest.raises(InvalidInput, match="'contributor-01' is in both records"):
        extended(record(ADA, BOB), record(BOB))
    with pytest.raises(InvalidInput, match="must be of one lab"):
        extended(record(ADA), record(BOB, timesteps=5))
