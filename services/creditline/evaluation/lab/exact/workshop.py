"""The directory in which exact effects are made: every stage is stored, and a second call resumes.

The training with its states; the queries, which are pictures of the trained model; the adjoints, carried back
segment by segment; and the losses of the queries without each set of works.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from creditline.errors import FingerprintMismatch
from creditline.evaluation.lab.exact.adjoint import Adjoints, segment_back
from creditline.evaluation.lab.exact.flat_unet import FlatUnet
from creditline.evaluation.lab.exact.optimiser import State
from creditline.evaluation.lab.exact.plan import (
    ExactPlan,
    LeftOut,
    chosen_sets,
    interleaved,
    planned_queries,
    random_sets,
)
from creditline.evaluation.lab.exact.query_losses import QueryLosses
from creditline.evaluation.lab.exact.training import WeightedTraining
from creditline.evaluation.lab.plan import LOSS_DRAWS, LabQuery
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lab.retraining.denoiser import build_lab_unet
from creditline.files import replace_directory, replace_file
from creditline.generator.assembly import assemble, reference_weights
from creditline.generator.losses import LOSS, Examples
from creditline.generator.pipeline import Generator, Noising
from creditline.tensor_files import read_arrays, write_arrays, write_tensors

_STATE = ("weights", "first", "second", "average")


@dataclass(frozen=True)
class ExactWorkshop:
    """An open directory of exact effects."""

    directory: Path
    """Path of the directory."""
    plan: ExactPlan
    """Sizes and seeds."""
    training: WeightedTraining
    """The training that is differentiated."""
    queries: tuple[LabQuery, ...]
    """Prompts and seeds of the queries."""
    unit: NDArray[np.float64]
    """(timesteps,) weight of the loss at each timestep."""

    @classmethod
    def open(cls, directory: Path, works_file: Path, record: LabRecord, plan: ExactPlan) -> ExactWorkshop:
        """Open a directory, which is created where it does not exist.

        Args:
            directory: Path of the directory.
            works_file: The lab's works as inputs of the UNet (`retraining.workshop.Workshop.works_file`).
            record: The lab's record.
            plan: Sizes and seeds.

        Raises:
            FingerprintMismatch: The directory was started with another plan, corpus or loss.
        """
        origin = {"plan": plan.to_json(), "corpus": record.corpus, "loss": LOSS}
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "exact.json"
        if not path.exists():
            with replace_file(path) as draft:
                draft.write_text(json.dumps(origin, indent=1))
        if json.loads(path.read_text()) != origin:
            raise FingerprintMismatch(
                f"{path} was started with another plan, corpus or loss; use another directory", field="exact"
            )
        torch.manual_seed(plan.seed)
        model = FlatUnet.of(build_lab_unet())
        training = WeightedTraining(model, load_file(works_file), plan.optimiser(), plan.batch, plan.seed)
        unit = record.timestep_weights("relative")
        return cls(directory, plan, training, planned_queries(record, plan), unit)

    def trained(self) -> Tensor:
        """The averaged weights of the trained model, (P,): the training runs at the first call."""
        self._train()
        return self._read_state(self.plan.steps).average

    def _train(self) -> None:
        ends = [0, *(segment.stop for segment in self.plan.segments())]
        done = [end for end in ends if self._state_path(end).exists()]
        state = self._read_state(done[-1]) if done else State.start(self.training.model.initial())
        if not done:
            self._write_state(0, state)
        for segment in self.plan.segments():
            if not self._state_path(segment.stop).exists():
                state = self.training.run(torch.ones(self.training.works), state, segment)
                self._write_state(segment.stop, state)

    def _state_path(self, step: int) -> Path:
        return self.directory / "states" / f"{step:05d}.safetensors"

    def _write_state(self, step: int, state: State) -> None:
        path = self._state_path(step)
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, {name: getattr(state, name) for name in _STATE})

    def _read_state(self, step: int) -> State:
        return State(**load_file(self._state_path(step)))

    @property
    def unet(self) -> Path:
        """Diffusers directory of the trained model's UNet, in float16."""
        return self.directory / "unet"

    def open_generator(self) -> Generator:
        """Open the trained model as a generator, for use with `with`."""
        if not self.unet.exists():
            unet = build_lab_unet()
            unet.load_state_dict(self.training.model.split(self.trained()))
            with replace_directory(self.unet) as draft:
                unet.half().save_pretrained(draft)
        return Generator.open(
            assemble(self.directory / "generator", unet=self.unet, vae=reference_weights() / "vae")
        )

    def copy_unet(self, output: Path) -> None:
        """Create or replace a copy of the trained model's UNet."""
        with replace_directory(output) as draft:
            shutil.copytree(self.unet, draft, dirs_exist_ok=True)

    def pictures(self) -> dict[str, NDArray[np.generic]]:
        """The queries: pictures (Q, H, W, 3) uint8, latents (Q, C, H, W) and text (Q, L, D), float32."""
        path = self.directory / "queries.safetensors"
        if not path.exists():
            with self.open_generator() as generator:
                prompts = [query.prompt for query in self.queries]
                drawn = generator.sample(prompts, [query.seed for query in self.queries])
                arrays = {
                    "pictures": np.stack([np.asarray(picture.convert("RGB")) for picture in drawn]),
                    "latents": generator.latents(drawn).numpy(),
                    "text": generator.prompt_vectors(prompts).numpy(),
                }
            write_arrays(path, arrays)
        return read_arrays(path)[0]

    def query_losses(self) -> QueryLosses:
        """The losses of the queries as functions of the weights."""
        stored = self.pictures()
        examples = Examples(
            tuple(query.id for query in self.queries),
            torch.from_numpy(stored["latents"]),
            torch.from_numpy(stored["text"]),
        )
        data = self.training.data
        noising = Noising(data["signal"], data["noise"], "v_prediction")
        return QueryLosses(
            self.training.model, noising, examples, LOSS_DRAWS, torch.from_numpy(self.unit).float()
        )

    def groups(self) -> list[range]:
        """Rows of the queries whose adjoints are carried back together."""
        rows = range(len(self.queries))
        return [rows[first : first + self.plan.group] for first in rows[:: self.plan.group]]

    def effects(self, groups: int, report: Callable[[str], None]) -> NDArray[np.float64]:
        """Derivative of the queries' losses with respect to each work's weight: (Q, N) float64.

        Args:
            groups: Number of groups of queries, from the first.
            report: Receives a line after each segment of each group.
        """
        return np.concatenate([self._effects_on(group, report) for group in self.groups()[:groups]])

    def _effects_on(self, group: range, report: Callable[[str], None]) -> NDArray[np.float64]:
        segments = self.plan.segments()
        adjoints, left = self._adjoints(group)
        for number in reversed(range(left)):
            start = self._read_state(segments[number].start)
            adjoints = segment_back(self.training, start, segments[number], adjoints)
            self._write_adjoints(group, adjoints, number)
            report(f"queries from {group.start}: carried back to step {segments[number].start}")
        effects: NDArray[np.float64] = adjoints.effects.numpy()
        return effects

    def _adjoints_path(self, group: range) -> Path:
        return self.directory / f"adjoints-{group.start:02d}.safetensors"

    def _adjoints(self, group: range) -> tuple[Adjoints, int]:
        """The adjoints as far as they were carried back, and the number of segments left."""
        if self._adjoints_path(group).exists():
            stored = load_file(self._adjoints_path(group))
            states = zip(*(stored[name] for name in _STATE), strict=True)
            return Adjoints(tuple(State(*state) for state in states), stored["effects"]), int(stored["left"])
        losses, weights = self.query_losses(), self.trained()
        gradients = [losses.gradient(weights, row) for row in group]
        return Adjoints.at_end(gradients, self.training.works), len(self.plan.segments())

    def _write_adjoints(self, group: range, adjoints: Adjoints, left: int) -> None:
        stacked = {name: torch.stack([getattr(state, name) for state in adjoints.states]) for name in _STATE}
        tensors = {**stacked, "effects": adjoints.effects, "left": torch.tensor(left)}
        write_tensors(self._adjoints_path(group), tensors)

    def sets(self, report: Callable[[str], None]) -> list[LeftOut]:
        """The sets of works to leave out: random ones and those of the largest predicted rise of a loss.

        The latter are chosen by effects on the first group of queries, so that they need not wait for the
        others.

        Args:
            report: Receives progress lines where the effects are not computed yet.
        """
        effects = self.effects(1, report)
        chosen = chosen_sets(self.plan, self.queries[: len(effects)], -effects)
        return interleaved(random_sets(self.plan, self.training.works), chosen)

    def losses_without(self, rows: tuple[int, ...], name: str) -> NDArray[np.float64]:
        """Losses of the queries under the training in which some works have weight 0: (Q,) float64.

        Args:
            rows: Rows of the works; empty: the training itself.
            name: Name of the set, used in file names.
        """
        path = self.directory / "losses" / f"{name}.npy"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            weights = self._trained_without(rows) if rows else self.trained()
            with replace_file(path) as draft:
                np.save(draft, self.query_losses().all(weights).numpy())
        losses: NDArray[np.float64] = np.load(path)
        return losses

    def _trained_without(self, rows: tuple[int, ...]) -> Tensor:
        """The averaged weights of the training without some works, (P,).

        Until the first step that draws one of them, the training is that of all works.
        """
        removed = torch.tensor(rows)
        draws = (self.training.step_inputs(step).rows for step in range(self.plan.steps))
        first = next((step for step, drawn in enumerate(draws) if torch.isin(drawn, removed).any()), None)
        if first is None:
            return self.trained()
        of_works = torch.ones(self.training.works)
        of_works[removed] = 0.0
        start = first - first % self.plan.segment
        return self.training.run(of_works, self._read_state(start), range(start, self.plan.steps)).average
