"""Training loop of the generator's parts: data-parallel, checkpointed, resumable, in the fastest precision.

On CPUs, one process per core with one thread each trains small batches nearly twice as fast as one process
with all threads; `DistributedDataParallel` averages the gradients over gloo. On CPUs with native bfloat16,
that type is nearly twice as fast again; on others it is ten times slower, so both types are measured and the
faster one is used.
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

_FUSED_DEVICES = ("cpu", "cuda")
_FULL = "float32"
_MEASURED_STEPS = 12
_WARM_UP_STEPS = 3
_MIN_STEPS = 24
_LOG_SECONDS = 30.0


@dataclass(frozen=True)
class Schedule:
    """Length, batch size and optimiser settings of a training."""

    minutes: float
    """Training time in minutes, where `steps` is None."""
    batch: int
    """Examples per optimiser step, over all workers together."""
    learning_rate: float
    """Peak learning rate of AdamW."""
    workers: int
    """Number of processes."""
    seed: int
    """Seed of the initial weights and of all examples."""
    warm_up: float = 0.02
    """Fraction of the steps in which the learning rate rises linearly."""
    ema_decay: float = 0.999
    """Decay per step of the exponential moving average of the weights."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""
    checkpoint_minutes: float = 3.0
    """Minutes between checkpoints."""
    steps: int | None = None
    """Number of optimiser steps; None: the number that fits into `minutes`."""
    keep: tuple[int, ...] = ()
    """Steps after which a copy of the averaged weights is kept (`kept_weights`)."""


def kept_weights(name: str, step: int, directory: Path) -> Path:
    """Path of a task's averaged weights after a step in `Schedule.keep` (float16)."""
    return directory / f"{name}.step-{step}.safetensors"


class TrainingTask(Protocol):
    """A model to train, with its data and loss.

    A task must be picklable, because each worker process builds its own model.
    """

    name: str
    """Name of the task, used in file names."""
    precisions: tuple[str, ...]
    """Names of the float types in which the forward pass may be computed; weights and updates are float32."""

    def open(self) -> None:
        """Load the data; called once in each worker."""

    def build(self) -> nn.Module:
        """Build the model with initial weights."""

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        """Mean loss of randomly drawn examples.

        The task moves the examples to the model's device.

        Args:
            model: The model.
            generator: Random generator of the CPU.
            batch: Number of examples.

        Returns:
            A scalar on the model's device.
        """


class _LossModule(nn.Module):
    """A task's loss as a module's `forward`, which DistributedDataParallel needs."""

    def __init__(self, task: TrainingTask, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, generator: torch.Generator, batch: int) -> Tensor:
        return self._task.loss(self.model, generator, batch)


@dataclass
class Progress:
    """The progress of a training, stored as JSON in its checkpoint."""

    step: int
    """Number of finished optimiser steps."""
    total_steps: int
    """Number of steps of the whole training; 0 before it is known."""
    seconds: float
    """Training time so far."""
    smoothed_loss: float
    """Exponential moving average of the loss; NaN before the first step."""
    precision: str = "float32"
    """Name of the float type in which the forward pass is computed."""


def learning_rate_at(step: int, total_steps: int, schedule: Schedule) -> float:
    """Learning rate of a step: linear warm-up, then cosine decay to zero.

    Args:
        step: Step, from 0.
        total_steps: Number of steps of the whole training.
        schedule: Peak learning rate and length of the warm-up.
    """
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
    """Train a task to the end of its schedule, resuming from a checkpoint if the directory holds one.

    One process at a time trains a task in a directory; others wait for it.

    Args:
        task: Model, data and loss.
        schedule: Length, batch size and optimiser settings.
        directory: Directory of checkpoints and results.
        report: Receives progress lines, also while waiting for another process.
        device: Device on which the model is trained; a training may be resumed on another. On a GPU, the
            forward pass is computed in float32 only.

    Returns:
        Path of the averaged (EMA) weights.

    Raises:
        FingerprintMismatch: The checkpoint was made with another schedule.
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
    expected = json.loads(json.dumps(asdict(schedule)))
    if path.exists() and json.loads(path.read_text()) != expected:
        raise FingerprintMismatch(
            f"the training of {path} was started with another schedule; use the same one, or another"
            " directory",
            field="schedule",
        )
    with replace_file(path) as draft:
        draft.write_text(json.dumps(expected, indent=1))


class _Trainer:
    """The training state of one worker: model, optimiser, averaged weights, progress."""

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
        # One kernel for all parameters, where the device has one: a tenth less time a step of a small UNet,
        # with the same updates.
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            fused=device.type in _FUSED_DEVICES,
        )
        self._load()
        if schedule.workers > 1:
            self.loss_module = DistributedDataParallel(loss_module)

    def step(self, total_steps: int) -> float:
        """Take one optimiser step, and return the loss; the examples depend only on seed, step and rank."""
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
        """Write weights, averaged weights and optimiser state, and then the progress file."""
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
        """Write a copy of the current averaged weights, in half precision."""
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
    """Time a few real steps in each precision; select the fastest, and the number of steps that fits.

    On a GPU, only float32 is measured: half precision has not been compared with it there.
    """
    allowed = trainer.task.precisions if trainer.device.type == CPU else (_FULL,)
    seconds = {precision: _seconds_per_step(trainer, precision) for precision in allowed}
    progress, schedule = trainer.progress, trainer.schedule
    progress.precision = min(seconds, key=lambda precision: seconds[precision])
    fastest = seconds[progress.precision]
    progress.total_steps = max(_MIN_STEPS, progress.step, round(schedule.minutes * 60.0 / fastest))
    if trainer.rank == 0:
        rates = ", ".join(
            f"{schedule.batch / taken:.1f} samples/s in {name}" for name, taken in seconds.items()
        )
        end = time.strftime("%H:%M", time.localtime(time.time() + progress.total_steps * fastest))
        print(f"{trainer.task.name}: {rates}; {progress.total_steps} steps, ends about {end}", flush=True)


def _seconds_per_step(trainer: _Trainer, precision: str) -> float:
    """Seconds per step of the slowest worker, so that all workers make the same decision."""
    trainer.progress.precision = precision
    assumed_total_steps = 1_000_000
    for _ in range(_WARM_UP_STEPS):
        trainer.step(assumed_total_steps)
    started = time.perf_counter()
    for _ in range(_MEASURED_STEPS):
        trainer.step(assumed_total_steps)
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
            raise SystemExit("the parent process has ended, so the training stops; start it again to resume")
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
