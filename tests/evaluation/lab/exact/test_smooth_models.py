"""A lab of smoother training: its models are its own, all else is the lab's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from creditline.corpus.works import Corpus
from creditline.evaluation.lab.exact.smooth_models import SmoothLab
from creditline.evaluation.lab.plan import LabPlan, whole_job


def test_a_smooth_lab_is_resumed_and_gives_a_record_of_its_own_models(
    small_plan: LabPlan, small_corpus: Corpus, tmp_path: Path
) -> None:
    plan = replace(small_plan, seeds=1, epochs=1, caption_queries=1, mixed_queries=1, held_out_queries=0)
    SmoothLab.open(tmp_path, small_corpus, plan).train(lambda line: None)
    first = tmp_path / "losses" / "subset-000-0.npy"
    losses, lines = np.load(first), []
    first.unlink()
    lab = SmoothLab.open(tmp_path, small_corpus, plan)
    lab.train(lines.append)
    record = lab.record()
    assert np.array_equal(record.losses[0, 0], losses)
    assert record.losses.shape == (2, 1, 2, 20)
    assert len(lines) == 2
    training = lab.training_of(whole_job(plan))
    trained = training.model.split(training.run(torch.ones(12)).average)
    stored = load_file(lab.workshop.weights(whole_job(plan)))
    assert all(torch.equal(part.half(), stored[name]) for name, part in trained.items())
