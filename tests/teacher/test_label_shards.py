"""Shards of a distillation, labelled by a worker process over a real Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from creditline.release import open_release
from tests.distillation.small_towers import write_small_clip
from tests.teacher.conftest import Prepared, Services, start_process, worker_plan

pytestmark = pytest.mark.slow


def config_of(prepared: Prepared, directory: Path) -> Path:
    content = {
        "name": "small",
        "generator": str(prepared.generator_directory),
        "artifacts": str(prepared.artifacts),
        "corpus": str(prepared.corpus_file),
        "towers": str(write_small_clip(directory / "towers")),
        "queries": {"training": 40, "held_out": 16},
        "training": {"epochs": 1, "hidden": 16, "layers": 1, "reduced": 0, "width": 16, "nested": []},
    }
    path = directory / "run.yaml"
    path.write_text(json.dumps(content))
    return path


def test_workers_label_the_parts_and_the_run_uses_them_unchanged(
    prepared: Prepared, services: Services, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "creditline.cli.main", "distill", "run"]
    command += [str(config_of(prepared, tmp_path)), "--output", str(tmp_path / "run"), "--celery"]
    worker = start_process(
        worker_plan(services, CREDITLINE_TEACHER_QUEUES="labels"), tmp_path / "teacher.log"
    )
    try:
        ended = subprocess.run(
            command, env=os.environ | services.environment, capture_output=True, text=True, timeout=200
        )
    finally:
        worker.stop()
    assert ended.returncode == 0, ended.stderr
    assert "workers: part 2/2" in ended.stdout
    assert "about 0 s are left" in ended.stdout
    # The run itself found every part and labelled none.
    assert "labels: part" not in ended.stdout
    assert open_release(tmp_path / "run" / "release").works == len(prepared.corpus)


def test_an_unknown_queue_stops_the_worker_with_one_clear_line(prepared: Prepared) -> None:
    environment = os.environ | prepared.environment() | {"CREDITLINE_TEACHER_QUEUES": "celery,label"}
    ended = subprocess.run(
        [sys.executable, "-m", "creditline.teacher"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode != 0
    assert "there is no queue 'label'" in ended.stderr
