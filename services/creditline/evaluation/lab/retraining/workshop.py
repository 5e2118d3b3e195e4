"""The lab's directory: what all its models share, made once, and where each model's results go."""

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
# Where TracIn looks: at the end the learning rate is 0, and nothing is learnt any more.
CHECKPOINTS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Workshop:
    """An open lab directory.

    works: the lab's own; queries: generated first, then held out; device: where its models run.
    """

    directory: Path
    plan: LabPlan
    works: Corpus
    held_out: Corpus
    queries: tuple[LabQuery, ...]
    device: str = CPU

    @classmethod
    def open(cls, directory: Path, corpus: Corpus, plan: LabPlan, *, device: str = CPU) -> Workshop:
        """Begin a lab, or go on with one. Raises FingerprintMismatch when it was begun with another plan."""
        works, held_out = draw_works(corpus, plan)
        origin = {"plan": plan.to_json(), "corpus": corpus.fingerprint, "loss": LOSS}
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "lab.json"
        if not path.exists():
            with replace_file(path) as draft:
                draft.write_text(json.dumps(origin, indent=1))
        found = json.loads(path.read_text())
        for key, wanted in origin.items():
            if found.get(key) != wanted:
                raise FingerprintMismatch(
                    f"{path} was begun with {key} {found.get(key)!r}, not {wanted!r}; use another directory",
                    field=key,
                )
        queries = draw_queries(works, held_out, plan)
        return cls(directory, plan, works, held_out, tuple(queries), device)

    @property
    def works_file(self) -> Path:
        """Latents and captions of the works, as models are trained on them."""
        return self.directory / "works.safetensors"

    @property
    def queries_file(self) -> Path:
        """Latents and text vectors of the queries."""
        return self.directory / "queries.safetensors"

    @property
    def generator(self) -> Path:
        """The pipeline directory of the model of all works: the lab's generator."""
        return self.directory / "generator"

    def weights(self, job: ModelJob) -> Path:
        """Where a finished model's averaged weights are (float16)."""
        return self.directory / "models" / f"{job.name}.safetensors"

    def losses(self, job: ModelJob) -> Path:
        """Where the queries' losses under a finished model are: (Q, timesteps) float32."""
        return self.directory / "losses" / f"{job.name}.npy"

    def pictures(self) -> list[Image.Image]:
        """The queries' pictures, in order. Raises NotReady before the lab is prepared."""
        folder = self.directory / "pictures"
        drawn = [folder / f"{query.id}.png" for query in self.queries if query.kind == "generated"]
        if not all(path.is_file() for path in drawn):
            raise NotReady(f"no query pictures in {folder}; run `creditline lab train` first", field="lab")
        return [Image.open(path).convert("RGB") for path in drawn] + [
            work.picture() for work in self.held_out
        ]

    def open_generator(self, directory: Path) -> Generator:
        """A pipeline on the lab's device, to be closed by `with`."""
        return Generator.open(directory, device=self.device)

    def examples(self) -> Examples:
        """The queries as the UNet sees them, on the processor."""
        encoded = load_file(self.queries_file)
        return Examples(tuple(query.id for query in self.queries), encoded["latents"], encoded["text"])


def prepare(workshop: Workshop, report: Callable[[str], None]) -> None:
    """Encode the works, train the lab's generator, make the queries' pictures; does only what is missing.

    One process at a time prepares a lab; others wait for it, and `report` reports that.
    """
    if not is_prepared(workshop):
        with preparation_lock(workshop, report):
            _prepare_missing(workshop, report)


def is_prepared(workshop: Workshop) -> bool:
    """Whether the works, the generator and the queries are there."""
    made = (workshop.works_file, workshop.generator, workshop.queries_file)
    return all(path.exists() for path in made)


def preparation_lock(workshop: Workshop, report: Callable[[str], None]) -> AbstractContextManager[None]:
    """Held by the process that makes what all models of the lab share."""
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
        report(f"{len(workshop.queries)} queries made")


def encode_works(workshop: Workshop, reference: Generator) -> None:
    """Write the works' latents and text vectors, as models are trained on them."""
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
    """Train one model, resuming where it was stopped; returns its averaged weights.

    One process at a time trains a model; others wait for it, and `report` reports that.
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
    """Train the model of all works again, and keep it at `CHECKPOINTS` of the way."""
    job, plan = whole_job(workshop.plan), workshop.plan
    paths = checkpoint_rates(workshop.directory, plan)
    if not all(path.exists() for path in paths):
        schedule = replace(_schedule(plan, job), keep=tuple(_checkpoint_steps(plan)))
        task = LabTask(workshop.works_file, job.rows)
        train(task, schedule, _checkpoints(workshop.directory), report, device=workshop.device)


def checkpoint_rates(directory: Path, plan: LabPlan) -> dict[Path, float]:
    """Where the checkpoints of a lab's directory are, and each one's learning rate."""
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
    """Put a lab model's weights (float16) into the UNet of the lab's open generator."""
    generator.unet.load_state_dict({name: value.float() for name, value in load_file(weights).items()})


def train_models(workshop: Workshop, jobs: Sequence[ModelJob], report: Callable[[str], None]) -> None:
    """Train every job's model and record the queries' losses under it; what is done is not done again."""
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
    """The queries' losses under the model that is loaded, timestep by timestep."""
    losses = denoising_losses(generator, examples.to(generator.device), LOSS_DRAWS)
    by_timestep = losses.view(len(examples), LOSS_DRAWS.timesteps, LOSS_DRAWS.repeats).mean(dim=2)
    path = workshop.losses(job)
    path.parent.mkdir(exist_ok=True)
    with replace_file(path) as draft:
        np.save(draft, by_timestep.cpu().numpy())


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """One safetensors file, there only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors)
