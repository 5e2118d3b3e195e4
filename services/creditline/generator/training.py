"""One training loop for the generator's parts: data-parallel, measured, checkpointed, resumable.

On processors, one process per core with one thread each trains small batches nearly twice as fast as
one process with all threads; gradients are averaged by `DistributedDataParallel` over gloo. Where the
processor has bfloat16 of its own, that is nearly twice as fast again; elsewhere it is ten times slower, so
both are measured and the faster one is taken.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as distributed
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from creditline.build_lock import build_lock
from creditline.device_setting import CPU
from creditline.devices import torch_device
from creditline.errors import FingerprintMismatch
from creditline.files import replace_file
from creditline.tensor_files import write_tensors

_FULL = "float32"
_MEASURED_STEPS = 12
_WARM_UP_STEPS = 3
_FEWEST_STEPS = 24
_LOG_SECONDS = 30.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train. `batch` is the whole batch, over all workers.

    steps: how many optimiser steps; where it is None, as many as fit into `minutes`. keep: after which steps
    the averaged weights are kept as they are then (`kept_weights`).
    """

    minutes: float
    batch: int
    learning_rate: float
    workers: int
    seed: int
    warm_up: float = 0.02
    ema_decay: float = 0.999
    weight_decay: float = 1e-4
    checkpoint_minutes: float = 3.0
    steps: int | None = None
    keep: tuple[int, ...] = ()


def kept_weights(name: str, step: int, directory: Path) -> Path:
    """Where a task's averaged weights after a step of `Schedule.keep` are."""
    return directory / f"{name}.step-{step}.safetensors"


class TrainingTask(Protocol):
    """What is trained: a model, its loss on a batch of rows, and how a row is augmented.

    Must be picklable: each worker process builds its own. `precisions`: the names of the float types that its
    forward may be computed in; weights and their updates are always float32.
    """

    name: str
    precisions: tuple[str, ...]

    def open(self) -> None:
        """Load the data (once per worker)."""

    def build(self) -> nn.Module:
        """The model, freshly initialised."""

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        """Draw `batch` examples with the generator, which is the processor's, and return their mean loss.

        What the data lack to be on the model's device is moved there.
        """


class _LossModule(nn.Module):
    """Puts a task's loss into `forward`, which is where DistributedDataParallel hooks in."""

    def __init__(self, task: TrainingTask, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, generator: torch.Generator, batch: int) -> Tensor:
        return self._task.loss(self.model, generator, batch)


@dataclass
class Progress:
    """Where a training stands; what the checkpoint's JSON holds."""

    step: int
    total_steps: int
    seconds: float
    smoothed_loss: float
    precision: str = "float32"


def learning_rate_at(step: int, total_steps: int, schedule: Schedule) -> float:
    """Linear warm-up, then a cosine to zero."""
    warm_up_steps = max(1, round(schedule.warm_up * total_steps))
    if step < warm_up_steps:
        return schedule.learning_rate * (step + 1) / warm_up_steps
    done = (step - warm_up_steps) / max(1, total_steps - warm_up_steps)
    return schedule.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def train(
    task: TrainingTask,
    schedule: Schedule,
    directory: Path,
    report: Callable[[str], None],
    *,
    device: str = CPU,
) -> Path:
    """Train to the end of the schedule, resuming from `directory` when a checkpoint is there.

    device: where the model is trained; a training may be resumed on another. On a GPU its forward is computed
    in float32 only. Returns the path of the averaged (EMA) weights. One process at a time trains a task in a
    directory; others wait for it. Raises FingerprintMismatch when the checkpoint was made with
    another schedule.
    """
    averaged = directory / f"{task.name}.ema.safetensors"
    with build_lock(averaged, on_wait=report):
        _refuse_other_schedule(task.name, schedule, directory)
        _train(task, schedule, directory, report, device)
    return averaged


def _train(
    task: TrainingTask, schedule: Schedule, directory: Path, report: Callable[[str], None], device: str
) -> None:
    length = f"{schedule.minutes:g} minutes" if schedule.steps is None else f"{schedule.steps} steps"
    report(f"{task.name}: {schedule.workers} worker(s), batch {schedule.batch}, {length}")
    store = (directory / f"{task.name}.store").absolute()
    store.unlink(missing_ok=True)
    if schedule.workers == 1:
        _work(0, task, schedule, directory, store, device)
    else:
        spawn(_work, (task, schedule, directory, store, device), nprocs=schedule.workers)


def _refuse_other_schedule(name: str, schedule: Schedule, directory: Path) -> None:
    path = directory / f"{name}.schedule.json"
    wanted = json.loads(json.dumps(asdict(schedule)))
    if path.exists() and json.loads(path.read_text()) != wanted:
        raise FingerprintMismatch(
            f"{path} was begun with another schedule; use the same one, or another directory",
            field="schedule",
        )
    with replace_file(path) as draft:
        draft.write_text(json.dumps(wanted, indent=1))


class _Trainer:
    """One worker's training state: model, optimiser, averaged weights, progress."""

    def __init__(
        self, rank: int, task: TrainingTask, schedule: Schedule, directory: Path, device: torch.device
    ) -> None:
        self.device = device
        self.rank = rank
        self.task = task
        self.schedule = schedule
        self.directory = directory
        torch.manual_seed(schedule.seed)
        self.model = task.build().to(device)
        self.ema = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.progress = Progress(step=0, total_steps=0, seconds=0.0, smoothed_loss=float("nan"))
        loss_module = _LossModule(task, self.model)
        self.loss_module: nn.Module = loss_module
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        self._load()
        if schedule.workers > 1:
            self.loss_module = DistributedDataParallel(loss_module)

    def step(self, total_steps: int) -> float:
        """One optimiser step; the examples depend on seed, step and rank alone. Returns the loss."""
        schedule = self.schedule
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.progress.step, total_steps, schedule)
        seed = (schedule.seed * 1_000_003 + self.progress.step) * schedule.workers + self.rank
        generator = torch.Generator().manual_seed(seed)
        precision = getattr(torch, self.progress.precision)
        in_half = precision is not torch.float32
        with torch.autocast(self.device.type, dtype=precision) if in_half else nullcontext():
            loss = self.loss_module(generator, schedule.batch // schedule.workers)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        if self.rank == 0:
            self._average()
        return float(loss.detach())

    def _average(self) -> None:
        decay = min(self.schedule.ema_decay, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.ema[name].lerp_(value, 1.0 - decay)
                else:
                    self.ema[name].copy_(value)

    def _path(self, part: str) -> Path:
        return self.directory / f"{self.task.name}.{part}"

    def save(self) -> None:
        """Write weights, averaged weights, optimiser state and progress; the progress file comes last."""
        state = self.optimizer.state_dict()["state"]
        moments = {f"{i}.{k}": v for i, entry in state.items() for k, v in entry.items()}
        for part, tensors in (
            ("model", self.model.state_dict()),
            ("ema", self.ema),
            ("optimizer", moments),
        ):
            write_tensors(self._path(f"{part}.safetensors"), tensors, durable=True)
        with replace_file(self._path("progress.json"), durable=True) as draft:
            draft.write_text(json.dumps(asdict(self.progress)))

    def keep(self) -> None:
        """Keep the averaged weights as they are now, in half precision."""
        halves = {name: value.half() for name, value in self.ema.items()}
        write_tensors(kept_weights(self.task.name, self.progress.step, self.directory), halves)

    def _load(self) -> None:
        if not self._path("progress.json").exists():
            return
        self.progress = Progress(**json.loads(self._path("progress.json").read_text()))
        self.model.load_state_dict(load_file(self._path("model.safetensors")))
        averaged = load_file(self._path("ema.safetensors"))
        self.ema = {name: value.to(self.device) for name, value in averaged.items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(self._path("optimizer.safetensors")).items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _work(
    rank: int, task: TrainingTask, schedule: Schedule, directory: Path, store: Path, device: str
) -> None:
    if schedule.workers > 1:
        torch.set_num_threads(1)
        distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=schedule.workers
        )
    task.open()
    trainer = _Trainer(rank, task, schedule, directory, torch_device(device))
    if schedule.steps is not None:
        trainer.progress.total_steps = schedule.steps
        trainer.progress.precision = task.precisions[0]
    elif trainer.progress.total_steps == 0:
        _measure(trainer)
    _run(trainer)
    if schedule.workers > 1:
        distributed.destroy_process_group()


def _measure(trainer: _Trainer) -> None:
    """Time a few real steps in each precision; keep the fastest, and as many steps as fit the schedule.

    On a GPU only float32 is tried: half precision has not been held against it there.
    """
    allowed = trainer.task.precisions if trainer.device.type == CPU else (_FULL,)
    seconds = {precision: _seconds_per_step(trainer, precision) for precision in allowed}
    progress, schedule = trainer.progress, trainer.schedule
    progress.precision = min(seconds, key=lambda precision: seconds[precision])
    fastest = seconds[progress.precision]
    progress.total_steps = max(_FEWEST_STEPS, progress.step, round(schedule.minutes * 60.0 / fastest))
    if trainer.rank == 0:
        rates = ", ".join(
            f"{schedule.batch / taken:.1f} samples/s in {name}" for name, taken in seconds.items()
        )
        end = time.strftime("%H:%M", time.localtime(time.time() + progress.total_steps * fastest))
        print(f"{trainer.task.name}: {rates}; {progress.total_steps} steps, ends about {end}", flush=True)


def _seconds_per_step(trainer: _Trainer, precision: str) -> float:
    """The slowest worker's time, so that all of them decide alike."""
    trainer.progress.precision = precision
    guess = 1_000_000
    for _ in range(_WARM_UP_STEPS):
        trainer.step(guess)
    started = time.perf_counter()
    for _ in range(_MEASURED_STEPS):
        trainer.step(guess)
    seconds = torch.tensor((time.perf_counter() - started) / _MEASURED_STEPS)
    if trainer.schedule.workers > 1:
        distributed.all_reduce(seconds, op=distributed.ReduceOp.MAX)
    return float(seconds)


def _run(trainer: _Trainer) -> None:
    progress, schedule = trainer.progress, trainer.schedule
    started = logged = saved = time.perf_counter()
    first_step, seconds_before = progress.step, progress.seconds
    parent = parent_process()
    while progress.step < progress.total_steps:
        if parent is not None and not parent.is_alive():
            raise SystemExit("the training's parent process is gone; stopping, start it again to resume")
        loss = trainer.step(progress.total_steps)
        if trainer.rank == 0 and progress.step in schedule.keep:
            trainer.keep()
        if math.isnan(progress.smoothed_loss):
            progress.smoothed_loss = loss
        progress.smoothed_loss += 0.01 * (loss - progress.smoothed_loss)
        now = time.perf_counter()
        progress.seconds = seconds_before + now - started
        if trainer.rank == 0 and now - logged > _LOG_SECONDS:
            logged = now
            _log(trainer, (progress.step - first_step) / (now - started))
        if trainer.rank == 0 and now - saved > schedule.checkpoint_minutes * 60:
            saved = now
            trainer.save()
    if trainer.rank == 0:
        trainer.save()
        _log(trainer, max(progress.step - first_step, 1) / (time.perf_counter() - started))


def _log(trainer: _Trainer, steps_per_second: float) -> None:
    progress = trainer.progress
    left = (progress.total_steps - progress.step) / steps_per_second
    rate = steps_per_second * trainer.schedule.batch
    print(
        f"{trainer.task.name}: step {progress.step}/{progress.total_steps}, "
        f"loss {progress.smoothed_loss:.4f}, "
        f"{rate:.1f} samples/s, {left / 60:.1f} minutes left",
        flush=True,
    )
