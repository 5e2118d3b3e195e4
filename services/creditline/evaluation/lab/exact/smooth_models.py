"""The lab trained more smoothly: the same works, halves, queries and seeds, with another batch and optimiser.

The models are trained by `WeightedTraining` and stored where the lab's own training stores them, so that
everything else (queries, losses, record) is made by the lab itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from creditline.corpus.works import Corpus
from creditline.evaluation.lab.exact.flat_unet import FlatUnet
from creditline.evaluation.lab.exact.optimiser import SmoothAdamW
from creditline.evaluation.lab.exact.training import WeightedTraining
from creditline.evaluation.lab.plan import LabPlan, ModelJob, subset_jobs, whole_job
from creditline.evaluation.lab.record import LabRecord, collect
from creditline.evaluation.lab.retraining.denoiser import build_lab_unet
from creditline.evaluation.lab.retraining.workshop import (
    Workshop,
    encode_works,
    prepare,
    save_tensors,
    train_models,
)
from creditline.generator.assembly import assemble_reference

# One model for each of the first halves of the lab, four times its batch, and generated queries alone.
SMOOTH_PLAN = LabPlan(subsets=32, seeds=1, batch=64, learning_rate=2e-3, held_out_queries=0)


@dataclass(frozen=True)
class SmoothLab:
    """A lab whose models are trained by `SmoothAdamW`."""

    workshop: Workshop
    """The lab's open directory, of its own plan."""
    epsilon: float = 1e-4
    """ε of the optimiser."""

    @classmethod
    def open(cls, directory: Path, corpus: Corpus, plan: LabPlan = SMOOTH_PLAN) -> SmoothLab:
        """Open a directory, which is created where it does not exist.

        Args:
            directory: Path of the directory, which no lab of another training uses.
            corpus: The corpus from which the lab's works are drawn.
            plan: Sizes and seeds.

        Raises:
            FingerprintMismatch: The directory was started with another plan, corpus or loss.
        """
        return cls(Workshop.open(directory, corpus, plan))

    def train(self, report: Callable[[str], None]) -> None:
        """Train the model of all works, make the queries, and train a model for each half; resumable.

        Args:
            report: Receives a line after each model.
        """
        workshop, jobs = self.workshop, subset_jobs(self.workshop.plan)
        if not workshop.works_file.exists():
            with workshop.open_generator(assemble_reference(workshop.directory / "reference")) as reference:
                encode_works(workshop, reference)
        self._train(whole_job(workshop.plan))
        prepare(workshop, report)
        for number, job in enumerate(jobs, start=1):
            self._train(job)
            train_models(workshop, [job], lambda line: None)
            report(f"{job.name} done ({number} of {len(jobs)})")

    def record(self) -> LabRecord:
        """The record of the halves that are trained.

        Raises:
            NotReady: Fewer than 2 halves are trained.
        """
        return collect(self.workshop)

    def _train(self, job: ModelJob) -> None:
        path = self.workshop.weights(job)
        if not path.exists():
            training = self.training_of(job)
            weights = training.run(torch.ones(training.works)).average
            save_tensors({name: part.half() for name, part in training.model.split(weights).items()}, path)

    def training_of(self, job: ModelJob) -> WeightedTraining:
        """The training of one model."""
        plan, data = self.workshop.plan, load_file(self.workshop.works_file)
        rows = torch.tensor(job.rows)
        data |= {name: data[name][rows] for name in ("latents", "text")}
        optimiser = SmoothAdamW(plan.steps(len(job.rows)), plan.learning_rate, self.epsilon)
        torch.manual_seed(job.seed)
        return WeightedTraining(FlatUnet.of(build_lab_unet()), data, optimiser, plan.batch, job.seed)
