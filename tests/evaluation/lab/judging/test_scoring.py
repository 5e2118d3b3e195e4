"""Stored scores and their comparison with retraining, on a record with known influences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.attribution.attributor import Cost
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.evaluation.lab.judging.scoring import (
    CHOOSING,
    Judge,
    MethodScores,
    read_all_scores,
    read_scores,
    write_scores,
)
from creditline.evaluation.lab.plan import LabPlan, LabQuery
from creditline.evaluation.lab.record import LabRecord, RecordFingerprints
from creditline.tensor_files import write_arrays

_WORKS, _SUBSETS, _TIMESTEPS = 20, 48, 3
COST = Cost(1.0, 2.0, 3.0, 4.0)


@pytest.fixture
def truth() -> NDArray[np.float64]:
    """Influence of each work on the losses of five queries: (5, works)."""
    return np.random.default_rng(3).normal(size=(5, _WORKS))


@pytest.fixture
def record(truth: NDArray[np.float64]) -> LabRecord:
    """Losses that are the sum of the works' influences, plus a little noise for each seed."""
    draw = np.random.default_rng(4)
    subsets = draw.random((_SUBSETS, _WORKS)) < 0.5
    clean = 20.0 - subsets @ truth.T
    noise = 0.05 * draw.normal(size=(_SUBSETS, 2, 5))
    scales = np.array([10.0, 1.0, 0.1])
    losses = (clean[:, None] + noise)[..., None] * scales
    kinds = ("generated",) * 3 + ("heldout",) * 2
    queries = tuple(LabQuery(f"{kind}-{row}", kind, "a prompt", row) for row, kind in enumerate(kinds))
    return LabRecord(
        plan=LabPlan(subsets=_SUBSETS),
        generator="generator",
        corpus="corpus",
        work_ids=tuple(f"work-{row}" for row in range(_WORKS)),
        queries=queries,
        subsets=subsets,
        losses=losses.astype(np.float32),
        pictures=np.zeros((3, 4, 4, 3), dtype=np.uint8),
        latents=np.zeros((5, 1, 2, 2), dtype=np.float32),
    )


_MADE_FROM = RecordFingerprints("generator", "record")


def scores_of(
    values: NDArray[np.float64],
    rows: tuple[int, ...] = (0, 1, 2, 3, 4),
    made_from: RecordFingerprints = _MADE_FROM,
) -> MethodScores:
    return MethodScores("method", rows, values.astype(np.float32), COST, made_from)


def test_the_true_influences_score_nearly_1_and_their_opposite_nearly_minus_1(
    record: LabRecord, truth: NDArray[np.float64]
) -> None:
    for kind in ("generated", "heldout"):
        assert Judge(record, kind).lds(scores_of(truth)).value > 0.98
        assert Judge(record, kind).lds(scores_of(-truth)).value < -0.98


def test_judging_uses_no_subset_that_was_used_for_choosing(
    record: LabRecord, truth: NDArray[np.float64]
) -> None:
    spoilt = record.losses.copy()
    spoilt[:CHOOSING] = 1.0
    changed = replace(record, losses=spoilt)
    in_noise = [Judge(one, "generated", "noise").lds(scores_of(truth)) for one in (record, changed)]
    assert in_noise[0] == in_noise[1]


def test_only_queries_that_were_scored_are_judged(record: LabRecord, truth: NDArray[np.float64]) -> None:
    judge = Judge(record, "generated")
    some = scores_of(truth[[2, 0]], (2, 0))
    assert judge.queries(some) == 2
    assert judge.lds(some).value > 0.98
    with pytest.raises(InvalidInput, match="no heldout query was scored"):
        Judge(record, "heldout").lds(some)


def test_a_difference_is_over_the_queries_that_both_scored(
    record: LabRecord, truth: NDArray[np.float64]
) -> None:
    judge = Judge(record, "generated")
    noisy = truth + np.random.default_rng(9).normal(size=truth.shape)
    found = judge.difference(scores_of(truth), scores_of(noisy[:2], (0, 1)))
    assert 0 < found.low <= found.value <= found.high
    assert judge.difference(scores_of(truth), scores_of(truth)).value == 0.0


def test_relative_losses_give_every_timestep_equal_weight(record: LabRecord) -> None:
    assert (record.losses.mean(axis=(0, 1, 2)) * record.timestep_weights("relative")) == pytest.approx(
        np.ones(_TIMESTEPS), rel=1e-4
    )


def test_queries_are_spread_over_each_kind(record: LabRecord) -> None:
    assert record.spread_rows(0) == [0, 1, 2, 3, 4]
    assert record.spread_rows(2) == [0, 1, 3, 4]
    assert record.spread_rows(3) == [0, 1, 2, 3, 4]
    assert record.spread_rows(1) == [0, 3]
    assert record.spread_rows(1, ["heldout"]) == [3]


def test_scores_are_read_as_they_were_written(
    record: LabRecord, truth: NDArray[np.float64], tmp_path: Path
) -> None:
    written = scores_of(truth[[3, 1]], (3, 1), record.fingerprints)
    write_scores(written, tmp_path)
    found = read_all_scores(tmp_path, record)
    assert list(found) == ["method"]
    assert found["method"].rows == (3, 1)
    assert found["method"].cost == COST
    assert found["method"].made_from == record.fingerprints
    assert np.array_equal(found["method"].values, written.values)


def test_a_truncated_file_and_a_missing_one_are_refused_with_the_remedy(
    record: LabRecord, truth: NDArray[np.float64], tmp_path: Path
) -> None:
    with pytest.raises(NotReady, match="creditline lab score method"):
        read_scores(tmp_path / "method.safetensors", record)
    path = write_scores(scores_of(truth), tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InvalidInput, match="is not a complete file of scores"):
        read_scores(path, record)


def test_scores_of_another_generator_or_another_record_are_refused(
    record: LabRecord, truth: NDArray[np.float64], tmp_path: Path
) -> None:
    path = write_scores(scores_of(truth, made_from=record.fingerprints), tmp_path)
    other = replace(record, generator="another generator")
    with pytest.raises(
        FingerprintMismatch, match="scores of generator generator, not another generator; make"
    ):
        read_scores(path, other)
    losses = record.losses.copy()
    losses[0, 0, 0, 0] += 1.0
    with pytest.raises(
        FingerprintMismatch, match=r"scores of record .*; make them again with `creditline lab"
    ) as error:
        read_scores(path, replace(record, losses=losses))
    assert error.value.field == "record"
    assert error.value.message.endswith(f"`creditline lab score {path.stem} --save {path.parent}`")


def test_scores_of_an_unknown_generator_are_refused(record: LabRecord, tmp_path: Path) -> None:
    path = tmp_path / "method.safetensors"
    write_arrays(path, {"scores": np.zeros((1, _WORKS), np.float32)}, {"cost": "{}", "rows": "[0]"})
    with pytest.raises(FingerprintMismatch, match="scores of generator unknown"):
        read_scores(path, record)


def test_a_record_that_lacks_subsets_judges_nothing(record: LabRecord) -> None:
    with pytest.raises(NotReady, match="holds 48 of the 64 subsets of its plan; train the others"):
        Judge(replace(record, plan=LabPlan(subsets=64)), "generated")
    few = replace(
        record,
        plan=LabPlan(subsets=CHOOSING),
        subsets=record.subsets[:CHOOSING],
        losses=record.losses[:CHOOSING],
    )
    with pytest.raises(InvalidInput, match="none to judge on"):
        Judge(few, "generated")


def test_scores_of_a_query_that_was_not_scored_are_refused(truth: NDArray[np.float64]) -> None:
    with pytest.raises(InvalidInput, match=r"did not score queries \[4\]"):
        scores_of(truth[:2], (0, 1)).of_rows([1, 4])
