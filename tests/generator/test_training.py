"""The training loop: its schedule, and resuming of a stopped training with the same result."""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from creditline.errors import FingerprintMismatch
from creditline.generator.training import Schedule, learning_rate_at, train
from tests.processes import wait_until

_SCHEDULE = Schedule(minutes=1e-6, batch=8, learning_rate=0.05, workers=1, seed=3, warm_up=0.1)


@dataclass
class LineTask:
    """Fit y = 2x − 1; stops like a killed process after `stop_after` losses."""

    stop_after: int | None = None
    name: str = "line"
    precisions: tuple[str, ...] = ("float32",)
    calls: int = 0

    def open(self) -> None:
        self.calls = 0

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        if self.stop_after is not None and self.calls >= self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        x = torch.randn((batch, 1), generator=generator)
        return (model(x) - (2 * x - 1)).square().mean()


def test_the_learning_rate_rises_linearly_and_decays_to_0_along_a_cosine() -> None:
    schedule = replace(_SCHEDULE, learning_rate=1.0, warm_up=0.1)
    rates = [learning_rate_at(step, 1000, schedule) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[49] == pytest.approx(0.5)
    assert rates[99] == rates[100] == pytest.approx(1.0)
    assert rates[550] == pytest.approx(0.5)
    assert rates[325] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert rates[1000] == pytest.approx(0.0, abs=1e-12)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[100:]))


def test_a_training_learns_and_averages_its_weights(tmp_path: Path) -> None:
    said: list[str] = []
    schedule = replace(_SCHEDULE, minutes=0.02, learning_rate=0.2)
    averaged = load_file(train(LineTask(), schedule, tmp_path, said.append))
    last = load_file(tmp_path / "line.model.safetensors")
    assert float(last["weight"]) == pytest.approx(2.0, abs=0.5)
    assert float(last["bias"]) == pytest.approx(-1.0, abs=0.5)
    assert not torch.equal(averaged["weight"], last["weight"])
    assert said == ["line: 1 worker(s), batch 8, 0.02 minutes"]


@dataclass
class ReportingTask(LineTask):
    """A task whose first step ends only when two processes have started the training or wait for it."""

    trains: set[int] = field(default_factory=set)
    waits: set[int] = field(default_factory=set)

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        self.trains.add(threading.get_ident())
        wait_until(lambda: len(self.trains) + len(self.waits) == 2, "both have come")
        return super().loss(model, generator, batch)

    def report(self, line: str) -> None:
        if "waiting for" in line:
            self.waits.add(threading.get_ident())


def test_of_two_concurrent_trainings_one_trains_and_the_other_uses_its_weights(tmp_path: Path) -> None:
    task, schedule = ReportingTask(), replace(_SCHEDULE, steps=3)
    with ThreadPoolExecutor(2) as threads:
        found = threads.map(lambda _: train(task, schedule, tmp_path, task.report), range(2))
    assert set(found) == {tmp_path / "line.ema.safetensors"}
    assert (len(task.trains), len(task.waits)) == (1, 1)


def test_a_training_that_was_stopped_ends_in_the_same_state_as_one_that_was_not(tmp_path: Path) -> None:
    """With hardly any training time, both make the minimum number of steps, whatever the machine's speed."""
    schedule = replace(_SCHEDULE, checkpoint_minutes=0.0)
    train(LineTask(), schedule, tmp_path / "whole", print)
    with pytest.raises(KeyboardInterrupt):
        train(LineTask(stop_after=20), schedule, tmp_path / "stopped", print)
    progress = json.loads((tmp_path / "stopped" / "line.progress.json").read_text())
    assert (progress["step"], progress["total_steps"]) == (20, 24)
    train(LineTask(), schedule, tmp_path / "stopped", print)
    for part in ("model", "ema", "optimizer"):
        whole = load_file(tmp_path / "whole" / f"line.{part}.safetensors")
        stopped = load_file(tmp_path / "stopped" / f"line.{part}.safetensors")
        assert whole.keys() == stopped.keys()
        for name, value in whole.items():
            torch.testing.assert_close(stopped[name], value, rtol=0, atol=0)


def test_a_finished_training_is_not_trained_further(tmp_path: Path) -> None:
    first = load_file(train(LineTask(), _SCHEDULE, tmp_path, print))
    again = load_file(train(LineTask(stop_after=0), _SCHEDULE, tmp_path, print))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_directory_of_another_schedule_is_refused(tmp_path: Path) -> None:
    train(LineTask(), _SCHEDULE, tmp_path, print)
    with pytest.raises(FingerprintMismatch, match="another schedule"):
        train(LineTask(), replace(_SCHEDULE, learning_rate=0.1), tmp_path, print)


def test_a_training_in_bfloat16_keeps_its_weights_in_float32_and_notes_its_precision(tmp_path: Path) -> None:
    task = LineTask(precisions=("bfloat16",))
    schedule = replace(_SCHEDULE, minutes=0.02, learning_rate=0.2)
    weights = load_file(train(task, schedule, tmp_path, print))
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert float(weights["weight"]) == pytest.approx(2.0, abs=0.5)
    assert json.loads((tmp_path / "line.progress.json").read_text())["precision"] == "bfloat16"


def test_the_fastest_of_several_precisions_is_used(tmp_path: Path) -> None:
    @dataclass
    class SlowInFloat32(LineTask):
        precisions: tuple[str, ...] = ("float32", "bfloat16")

        def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
            if not torch.is_autocast_enabled("cpu"):
                time.sleep(0.02)
            return super().loss(model, generator, batch)

    train(SlowInFloat32(), _SCHEDULE, tmp_path, print)
    progress = json.loads((tmp_path / "line.progress.json").read_text())
    assert (progress["precision"], progress["step"]) == ("bfloat16", 30)
