"""The lab from works to record, with models that are actually trained."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.evaluation.lab.plan import LOSS_DRAWS, LabPlan, subset_jobs
from creditline.evaluation.lab.record import collect, read_record, write_record
from creditline.evaluation.lab.retraining.models import retrain
from creditline.evaluation.lab.retraining.workshop import Workshop, load_weights
from creditline.generator.fingerprint import generator_fingerprint
from creditline.generator.losses import denoising_losses
from creditline.generator.pipeline import Generator
from tests.processes import end, start

pytestmark = [pytest.mark.slow]


def test_the_record_holds_the_losses_of_every_query_under_every_model(trained_lab: Workshop) -> None:
    record = collect(trained_lab)
    assert record.subsets.shape == (2, 12)
    assert record.losses.shape == (2, 2, 8, LOSS_DRAWS.timesteps)
    assert list(record.query_rows("heldout")) == [5, 6, 7]
    job = subset_jobs(trained_lab.plan)[3]
    with Generator.open(trained_lab.generator) as generator:
        load_weights(generator, trained_lab.weights(job))
        losses = denoising_losses(generator, trained_lab.examples(), LOSS_DRAWS).mean(dim=1)
    found = np.concatenate(
        [record.retrained(kind, "noise").losses[1, 1] for kind in ("generated", "heldout")]
    )
    assert found == pytest.approx(losses.numpy(), rel=1e-4)


def test_other_works_and_other_seeds_give_other_models(trained_lab: Workshop) -> None:
    losses = collect(trained_lab).retrained("generated").losses
    assert len({tuple(losses[subset, seed]) for subset in range(2) for seed in range(2)}) == 4


def test_relative_losses_weight_every_timestep_equally(trained_lab: Workshop) -> None:
    record = collect(trained_lab)
    weighted = record.losses * record.timestep_weights("relative")
    assert weighted.mean(axis=(0, 1, 2)) == pytest.approx(np.ones(LOSS_DRAWS.timesteps), rel=1e-5)


@pytest.mark.heavy
def test_a_killed_lab_resumes_and_ends_with_the_same_bytes(
    trained_lab: Workshop, small_corpus: Corpus, tmp_path: Path
) -> None:
    plan, spawn = trained_lab.plan, multiprocessing.get_context("spawn")
    killed = spawn.Process(target=_retrain_aloud, args=(tmp_path, small_corpus, plan))
    killed.start()
    first = Workshop.open(tmp_path, small_corpus, plan).losses(subset_jobs(plan)[0])
    deadline = time.monotonic() + 120
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.join()
    assert not Workshop.open(tmp_path, small_corpus, plan).losses(subset_jobs(plan)[3]).exists()
    retrain(tmp_path, small_corpus, plan, subsets=2, workers=1, report=lambda line: None)
    again = Workshop.open(tmp_path, small_corpus, plan)
    assert np.array_equal(collect(again).losses, collect(trained_lab).losses)


def _retrain_aloud(directory: Path, corpus: Corpus, plan: LabPlan, subsets: int = 2) -> None:
    torch.set_num_threads(1)
    retrain(directory, corpus, plan, subsets=subsets, workers=1, report=lambda line: None)


@pytest.mark.heavy
def test_two_concurrent_retrainings_of_one_lab_give_the_losses_of_one(
    trained_lab: Workshop, small_corpus: Corpus, tmp_path: Path
) -> None:
    plan = trained_lab.plan
    processes = [start(_retrain_aloud, tmp_path, small_corpus, plan, 1) for _ in range(2)]
    assert end(*processes, seconds=240) == [0, 0]
    both = Workshop.open(tmp_path, small_corpus, plan)
    for job in subset_jobs(plan)[: plan.seeds]:
        assert np.array_equal(np.load(both.losses(job)), np.load(trained_lab.losses(job)))
    assert generator_fingerprint(both.generator) == generator_fingerprint(trained_lab.generator)


def test_a_directory_of_another_plan_is_refused(trained_lab: Workshop, small_corpus: Corpus) -> None:
    with pytest.raises(FingerprintMismatch, match="use another directory"):
        Workshop.open(trained_lab.directory, small_corpus, replace(trained_lab.plan, epochs=4))


def test_a_lab_without_complete_subsets_gives_no_record(
    small_plan: LabPlan, small_corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(NotReady, match="0 complete subsets"):
        collect(Workshop.open(tmp_path, small_corpus, small_plan))


def test_a_record_is_read_as_it_was_written(trained_lab: Workshop, tmp_path: Path) -> None:
    record = collect(trained_lab)
    write_record(record, tmp_path / "record.safetensors")
    found = read_record(tmp_path / "record.safetensors")
    assert np.array_equal(found.losses, record.losses)
    assert np.array_equal(found.subsets, record.subsets)
    assert (found.plan, found.queries, found.work_ids) == (record.plan, record.queries, record.work_ids)


def test_a_record_that_is_truncated_missing_or_holds_a_nan_is_refused(
    trained_lab: Workshop, tmp_path: Path
) -> None:
    path = tmp_path / "record.safetensors"
    with pytest.raises(NotReady, match="creditline lab train"):
        read_record(path)
    record = collect(trained_lab)
    write_record(replace(record, losses=np.full_like(record.losses, np.nan)), path)
    with pytest.raises(InvalidInput, match="is NaN or infinite"):
        read_record(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InvalidInput, match="is not a complete lab record"):
        read_record(path)
