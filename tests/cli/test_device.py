"""The option `--device`: one sentence for a device that is none or absent, before any model is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from creditline.cli.device import worker_count


def _refused(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "creditline.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.heavy
@pytest.mark.slow
def test_an_absent_gpu_is_refused_by_option_and_by_variable(tmp_path: Path) -> None:
    sample = ("generator", "sample", "a cat", "--generator", str(tmp_path))
    said = "error: CREDITLINE_DEVICE or --device is 'cuda:77', but that GPU is absent"
    assert _refused(*sample, "--device", "cuda:77").startswith(said)
    assert _refused(*sample, CREDITLINE_DEVICE="cuda:77").startswith(said)


def test_a_local_stack_refuses_what_is_no_device(tmp_path: Path) -> None:
    up = ("local", "up", "--state-directory", str(tmp_path), "--device", "gpu")
    assert _refused(*up).startswith("error: device 'gpu' is none of auto, cpu, cuda and cuda:N")


def test_a_gpu_is_trained_on_by_one_process_unless_more_are_asked_for() -> None:
    assert (worker_count(None, "cpu"), worker_count(None, "cuda:0")) == (2, 1)
    assert (worker_count(4, "cuda:0"), worker_count(0, "cpu")) == (4, 0)
