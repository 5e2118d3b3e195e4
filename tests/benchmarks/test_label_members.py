"""The text member is taken out of a consensus exactly, as far as float32 holds the sum."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.attribution.ensembles.consensus import standardised
from creditline.attribution.methods.hyperparameters import CONSENSUSES, SHARPNESS
from creditline.evaluation.lab.judging.scoring import read_scores
from creditline.evaluation.lab.judging.weighting import joined
from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.setting import REFERENCE
from tests.benchmarks.label_members import TEXT, WITH_TEXT, text_member

TEACHERS = ("consensus-gradients", "consensus-gradients-attn")


@pytest.mark.parametrize("teacher", TEACHERS)
def test_the_sum_less_the_text_member_is_the_sum_of_the_other_members(teacher: str) -> None:
    sums, record = [], read_record(REFERENCE / "record.safetensors")
    for name in (teacher, teacher + WITH_TEXT):
        members = [
            read_scores(REFERENCE / "scores" / f"{each}.safetensors", record) for each in CONSENSUSES[name]
        ]
        sums.append(joined(name, members, tuple(CONSENSUSES[name].values())))
    rows = list(sums[0].rows)
    text = read_scores(REFERENCE / "scores" / f"{TEXT}.safetensors", record).of_rows(rows)
    member = CONSENSUSES[teacher + WITH_TEXT][TEXT] * standardised(text)
    np.testing.assert_allclose(sums[1].of_rows(rows) - member, sums[0].of_rows(rows), atol=2e-6)
    assert np.abs(member).max() > 1.0


@pytest.mark.parametrize("teacher", TEACHERS)
def test_the_consensus_that_labels_has_no_text_member_and_keeps_the_other_weights(teacher: str) -> None:
    others = {name: weight for name, weight in CONSENSUSES[teacher + WITH_TEXT].items() if name != TEXT}
    assert CONSENSUSES[teacher] == others


def test_the_member_is_the_sharpened_cosine_standardised_over_the_works() -> None:
    queries, works = np.array([[1.0, 0.0]], np.float32), np.array([[1, 0], [0.6, 0.8], [-1, 0]], np.float32)
    powers = np.array([[1.0, 0.6**SHARPNESS, -1.0]])
    expected = 0.32 * (powers - powers.mean()) / powers.std()
    np.testing.assert_allclose(text_member("consensus-gradients-attn", queries, works), expected, rtol=1e-6)
