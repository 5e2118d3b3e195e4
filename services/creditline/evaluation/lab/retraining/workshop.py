"""The lab's directory: files that all models share, made once, and the results of each model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from creditline.build_lock import build_lock
from creditline.corpus.works import Corpus
from creditline.device_setting import CPU
from creditline.errors import FingerprintMismatch, NotReady
from creditline.evaluation.lab.plan import (
    LOSS_DRAWS,
    LabPlan,
    LabQuery,
    ModelJob,
    draw_queries,
    draw_works,
    whole_job,
)
from creditline.evaluation.lab.retraining.denoiser import LabTask, build_lab_unet
from creditline.files import replace_directory, replace_file
from creditline.generator.assembly import assemble, assemble_reference, reference_weights
from creditline.generator.losses import LOSS, Examples, denoising_losses
from creditline.generator.pipeline import Generator
from creditline.generator.training import Schedule, kept_weights, learning_rate_at, train
from creditline.tensor_files import write_tensors

_EMA_DECAY = 0.99
# Points of the training, as fractions, whose checkpoints TracIn uses. The end is not among them: the learning
# rate is 0 there, and nothing is learnt.
CHECKPOINTS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Workshop:
    """An open lab directory."""

    directory: Path
    """Path of the directory."""
    plan: LabPlan
    """Sizes and seeds of the lab."""
    works: Corpus
    """The works on which models are trained."""
    held_out: Corpus
    """The real works that are queries."""
    queries: tuple[LabQuery, ...]
    """All queries: the generated ones first, then the held-out works."""
    device: str = CPU
    """Device on which the models run."""

    @classmethod
    def open(cls, directory: Path, corpus: Corpus, plan: LabPlan, *, device: str = CPU) -> Workshop:
        """Open a lab's directory, which is created where it does not exist.

        Args:
            directory: Path of the directory.
            corpus: The corpus from which the lab's works are drawn.
            plan: Sizes and seeds of the lab.
            device: Device on which the models run.

        Raises:
            FingerprintMismatch: The directory was started with another plan, corpus or loss.
        """
        works, held_out = draw_works(corpus, plan)
        origin = {"plan": plan.to_json(), "corpus": corpus.fingerprint, "loss": LOSS}
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "lab.json"
        if not path.exists():
            with replace_file(path) as draft:
                draft.write_text(json.dumps(origin, indent=1))
        stored = json.loads(path.read_text())
        for key, expected in origin.items():
            if stored.get(key) != expected:
                raise FingerprintMismatch(
                    f"{path} was started with {key} {stored.get(key)!r}, not {expected!r}; use another"
                    " directory",
                    field=key,
                )
        queries = draw_queries(works, held_out, plan)
        return cls(directory, plan, works, held_out, tuple(queries), device)

    @property
    def works_file(self) -> Path:
        """Path of the works' latents and text vectors, on which models are trained."""
        return self.directory / "works.safetensors"

    @property
    def queries_file(self) -> Path:
        """Path of the queries' latents and text vectors."""
        return self.directory / "queries.safetensors"

    @property
    def generator(self) -> Path:
        """Pipeline directory of the lab's generator, which is the model of all works."""
        return self.directory / "generator"

    def weights(self, job: ModelJob) -> Path:
        """Path of a finished model's averaged weights (float16)."""
        return self.directory / "models" / f"{job.name}.safetensors"

    def losses(self, job: ModelJob) -> Path:
        """Path of the queries' losses under a finished model: (Q, timesteps) float32."""
        return self.directory / "losses" / f"{job.name}.npy"

    def pictures(self) -> list[Image.Image]:
        """The pictures of all queries, in order.

        Raises:
            NotReady: The pictures have not been generated.
        """
        folder = self.directory / "pictures"
        drawn = [folder / f"{query.id}.png" for query in self.queries if query.kind == "generated"]
        if not all(path.is_file() for path in drawn):
            raise NotReady(f"no query pictures in {folder}; run `creditline lab train` first", field="lab")
        return [Image.open(path).convert("RGB") for path in drawn] + [
            work.picture() for work in self.held_out
        ]

    def open_generator(self, directory: Path) -> Generator:
        """Open a pipeline directory on the lab's device, for use with `with`."""
        return Generator.open(directory, device=self.device)

    def examples(self) -> Examples:
        """The queries as inputs of the UNet, on the CPU."""
        encoded = load_file(self.queries_file)
        return Examples(tuple(query.id for query in self.queries), encoded["latents"], encoded["text"])


def prepare(workshop: Workshop, report: Callable[[str], None]) -> None:
    """Encode the works, train the lab's generator and generate the queries' pictures, where they are missing.

    One process at a time prepares a lab; others wait for it.

    Args:
        workshop: The lab's open directory.
        report: Receives progress lines, also while waiting for another process.
    """
    if not is_prepared(workshop):
        with preparation_lock(workshop, report):
            _prepare_missing(workshop, report)


def is_prepared(workshop: Workshop) -> bool:
    """Whether the files of works, generator and queries exist."""
    shared = (workshop.works_file, workshop.generator, workshop.queries_file)
    return all(path.exists() for path in shared)


def preparation_lock(workshop: Workshop, report: Callable[[str], None]) -> AbstractContextManager[None]:
    """The lock that a process holds while it makes the files that all models of the lab share."""
    return build_lock(workshop.directory / "preparation", on_wait=report)


def _prepare_missing(workshop: Workshop, report: Callable[[str], None]) -> None:
    if not workshop.works_file.exists():
        with workshop.open_generator(assemble_reference(workshop.directory / "reference")) as reference:
            encode_works(workshop, reference)
        report(f"{len(workshop.works)} works encoded")
    job = whole_job(workshop.plan)
    if not workshop.generator.exists():
        _assemble(train_model(workshop, job, report), workshop.generator)
    if not workshop.queries_file.exists():
        with workshop.open_generator(workshop.generator) as generator:
            _make_queries(workshop, generator)
            write_losses(workshop, generator, workshop.examples(), job)
        report(f"{len(workshop.queries)} queries generated")


def encode_works(workshop: Workshop, reference: Generator) -> None:
    """Encode the works with the reference generator, and write them to `Workshop.works_file`."""
    tensors = {
        "latents": reference.latents([work.picture() for work in workshop.works]),
        "text": reference.prompt_vectors([work.caption for work in workshop.works]),
        "empty": reference.prompt_vectors([""])[0],
        "signal": reference.noising.signal,
        "noise": reference.noising.noise,
    }
    save_tensors(tensors, workshop.works_file)


def _assemble(weights: Path, output: Path) -> None:
    unet = build_lab_unet()
    unet.load_state_dict(load_file(weights))
    folder = output.with_name("unet")
    with replace_directory(folder) as draft:
        unet.half().save_pretrained(draft)
    assemble(output, unet=folder, vae=reference_weights() / "vae")


def _make_queries(workshop: Workshop, generator: Generator) -> None:
    generated = [query for query in workshop.queries if query.kind == "generated"]
    pictures = generator.sample([query.prompt for query in generated], [query.seed for query in generated])
    folder = workshop.directory / "pictures"
    folder.mkdir(exist_ok=True)
    for query, picture in zip(generated, pictures, strict=True):
        picture.save(folder / f"{query.id}.png")
    tensors = {
        "latents": generator.latents(workshop.pictures()),
        "text": generator.prompt_vectors([query.prompt for query in workshop.queries]),
    }
    save_tensors(tensors, workshop.queries_file)


def train_model(workshop: Workshop, job: ModelJob, report: Callable[[str], None]) -> Path:
    """Train one model; an interrupted training is resumed.

    One process at a time trains a model; others wait for it.

    Args:
        workshop: The lab's open directory.
        job: The model to train.
        report: Receives progress lines, also while waiting for another process.

    Returns:
        Path of the averaged weights.
    """
    finished = workshop.weights(job)
    if not finished.exists():
        with build_lock(finished, on_wait=report):
            if not finished.exists():
                _train_missing(workshop, job, report)
    return finished


def _train_missing(workshop: Workshop, job: ModelJob, report: Callable[[str], None]) -> None:
    schedule = _schedule(workshop.plan, job)
    scratch = workshop.directory / "scratch" / job.name
    task = LabTask(workshop.works_file, job.rows)
    averaged = load_file(train(task, schedule, scratch, report, device=workshop.device))
    save_tensors({name: value.half() for name, value in averaged.items()}, workshop.weights(job))
    shutil.rmtree(scratch)


def train_checkpoints(workshop: Workshop, report: Callable[[str], None]) -> None:
    """Train the model of all works again, and keep its weights at the `CHECKPOINTS` of the training."""
    job, plan = whole_job(workshop.plan), workshop.plan
    paths = checkpoint_rates(workshop.directory, plan)
    if not all(path.exists() for path in paths):
        schedule = replace(_schedule(plan, job), keep=tuple(_checkpoint_steps(plan)))
        task = LabTask(workshop.works_file, job.rows)
        train(task, schedule, _checkpoints(workshop.directory), report, device=workshop.device)


def checkpoint_rates(directory: Path, plan: LabPlan) -> dict[Path, float]:
    """Paths of the checkpoints in a lab's directory, with the learning rate at each."""
    schedule, steps = _schedule(plan, whole_job(plan)), plan.steps(plan.works)
    return {
        kept_weights("unet", step, _checkpoints(directory)): learning_rate_at(step, steps, schedule)
        for step in _checkpoint_steps(plan)
    }


def _checkpoint_steps(plan: LabPlan) -> list[int]:
    return [round(part * plan.steps(plan.works)) for part in CHECKPOINTS]


def _checkpoints(directory: Path) -> Path:
    return directory / "checkpoints"


def _schedule(plan: LabPlan, job: ModelJob) -> Schedule:
    return Schedule(
        minutes=0.0,
        batch=plan.batch,
        learning_rate=plan.learning_rate,
        workers=1,
        seed=job.seed,
        ema_decay=_EMA_DECAY,
        steps=plan.steps(len(job.rows)),
    )


def load_weights(generator: Generator, weights: Path) -> None:
    """Load the weights of a lab's model (a float16 file) into the UNet of the lab's open generator."""
    generator.unet.load_state_dict({name: value.float() for name, value in load_file(weights).items()})


def train_models(workshop: Workshop, jobs: Sequence[ModelJob], report: Callable[[str], None]) -> None:
    """Train the missing models, and write the queries' losses under each.

    Args:
        workshop: The lab's open directory.
        jobs: The models.
        report: Receives progress lines, also while waiting for another process.
    """
    examples = workshop.examples()
    with workshop.open_generator(workshop.generator) as generator:
        for number, job in enumerate(jobs):
            if workshop.losses(job).exists():
                continue
            with build_lock(workshop.losses(job), on_wait=report):
                if not workshop.losses(job).exists():
                    load_weights(generator, train_model(workshop, job, lambda line: None))
                    write_losses(workshop, generator, examples, job)
            report(f"{job.name} done ({number + 1} of {len(jobs)})")


def write_losses(workshop: Workshop, generator: Generator, examples: Examples, job: ModelJob) -> None:
    """Compute and write the queries' losses by timestep under a job's model, which `generator` has loaded."""
    losses = denoising_losses(generator, examples.to(generator.device), LOSS_DRAWS)
    by_timestep = losses.view(len(examples), LOSS_DRAWS.timesteps, LOSS_DRAWS.repeats).mean(dim=2)
    path = workshop.losses(job)
    path.parent.mkdir(exist_ok=True)
    with replace_file(path) as draft:
        np.save(draft, by_timestep.cpu().numpy())


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as a safetensors file; its directory is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors)
