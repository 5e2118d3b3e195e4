"""The stages of the exact effects on a small lab: real, but nothing is learnt."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from creditline.attribution.attributor import AttributionResult, Cost
from creditline.errors import FingerprintMismatch
from creditline.evaluation.lab.exact.plan import ExactPlan
from creditline.evaluation.lab.exact.record import WHOLE, ExactRecord, collect, read_exact, write_exact
from creditline.evaluation.lab.exact.scores import read_exact_scores, write_exact_scores
from creditline.evaluation.lab.exact.training import WeightedTraining
from creditline.evaluation.lab.exact.workshop import ExactWorkshop
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.setting import REFERENCE

PLAN = ExactPlan(steps=4, batch=4, queries=2, group=1, segment=2, chosen_sets=2, random_sets=1, largest_set=2)


@pytest.fixture(scope="module")
def lab_record() -> LabRecord:
    return read_record(REFERENCE / "record.safetensors")


@pytest.fixture(scope="module")
def works_file(tiny_training: WeightedTraining, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few works of random latents, as the lab stores its own."""
    path: Path = tmp_path_factory.mktemp("works") / "works.safetensors"
    save_file({name: value.float() for name, value in tiny_training.data.items()}, path)
    return path


@pytest.fixture(scope="module")
def workshop(
    works_file: Path, lab_record: LabRecord, tmp_path_factory: pytest.TempPathFactory
) -> ExactWorkshop:
    directory: Path = tmp_path_factory.mktemp("exact")
    opened = ExactWorkshop.open(directory, works_file, lab_record, PLAN)
    opened.effects(2, lambda line: None)
    return opened


@pytest.fixture(scope="module")
def record(workshop: ExactWorkshop, lab_record: LabRecord) -> ExactRecord:
    return collect(workshop, lab_record, 2, 3, lambda line: None)


def test_an_interrupted_run_resumes_after_its_last_segment(
    workshop: ExactWorkshop, lab_record: LabRecord, works_file: Path, tmp_path: Path
) -> None:
    shutil.copytree(workshop.directory, tmp_path / "exact")
    (tmp_path / "exact" / "adjoints-01.safetensors").unlink()
    (tmp_path / "exact" / "states" / "00004.safetensors").unlink()
    lines: list[str] = []
    resumed = ExactWorkshop.open(tmp_path / "exact", works_file, lab_record, PLAN)
    assert np.array_equal(resumed.effects(2, lines.append), workshop.effects(2, lambda line: None))
    assert len(lines) == 2


def test_a_directory_of_another_plan_is_refused(
    workshop: ExactWorkshop, lab_record: LabRecord, works_file: Path
) -> None:
    other = replace(PLAN, steps=5)
    with pytest.raises(FingerprintMismatch, match="another plan"):
        ExactWorkshop.open(workshop.directory, works_file, lab_record, other)


def test_losses_without_works_are_those_of_a_training_from_the_start(workshop: ExactWorkshop) -> None:
    drawn = int(workshop.training.step_inputs(3).rows[0])
    of_works = torch.ones(workshop.training.works)
    of_works[drawn] = 0.0
    expected = workshop.query_losses().all(workshop.training.run(of_works).average)
    assert np.array_equal(workshop.losses_without((drawn,), f"work-{drawn}"), expected.numpy())
    assert not np.array_equal(expected.numpy(), workshop.losses_without((), WHOLE))


def test_the_sets_hold_the_works_with_the_largest_effects_on_queries_of_the_first_group(
    record: ExactRecord,
) -> None:
    order = np.argsort(-record.effects[0])
    assert [one.reason for one in record.sets] == ["random", "exact-00", "exact-00"]
    assert [set(one.rows) for one in record.sets[1:]] == [{order[0]}, {order[0], order[1]}]


def test_the_record_of_the_first_group_is_the_first_part_of_the_whole_record(
    workshop: ExactWorkshop, lab_record: LabRecord, record: ExactRecord
) -> None:
    first = collect(workshop, lab_record, 1, 2, lambda line: None)
    assert (first.queries, first.sets) == (record.queries, record.sets[:2])
    assert np.array_equal(first.effects, record.effects[:1])
    assert np.array_equal(first.losses, record.losses[:3])


def test_a_record_is_read_as_it_was_written(record: ExactRecord, tmp_path: Path) -> None:
    write_exact(record, tmp_path / "record.safetensors")
    read = read_exact(tmp_path / "record.safetensors")
    assert (read.plan, read.generator, read.queries, read.sets) == (
        record.plan,
        record.generator,
        record.queries,
        record.sets,
    )
    for name in ("effects", "losses", "pictures", "latents"):
        assert np.array_equal(getattr(read, name), getattr(record, name))


def test_scores_of_another_model_are_refused(record: ExactRecord, tmp_path: Path) -> None:
    attributed = AttributionResult(record.effects, Cost(0.0, 1.0, 2.0, 3.0))
    write_exact_scores(record, "method", attributed, tmp_path)
    read = read_exact_scores(record, tmp_path / "method.safetensors")
    assert np.allclose(read.values, record.effects)
    assert read.cost.bytes_per_work == 3.0
    with pytest.raises(FingerprintMismatch, match="creditline lab exact score method"):
        read_exact_scores(replace(record, generator="another"), tmp_path / "method.safetensors")
