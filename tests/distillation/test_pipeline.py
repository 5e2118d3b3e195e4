"""A distillation run by the command: killed at three places, it resumes and gives the same bytes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from creditline.corpus.works import Corpus, write_corpus
from creditline.distillation.labels.label_set import HELD_OUT, TRAIN, TRANSFER, LabelSet, read_labels
from creditline.distillation.release.verification import verify_release
from creditline.release import EVALUATION, INTERVALS, OOD_DETECTOR, Release, open_release
from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers
from tests.distillation.small_towers import write_small_clip

_SECONDS = 400.0


def listed(path: Path, count: int) -> Path:
    path.write_text("# made up\n" + "".join(f"{path.stem} prompt {number}\n" for number in range(count)))
    return path


@pytest.fixture(scope="module")
def config(
    tmp_path_factory: pytest.TempPathFactory, random_generator_directory: Path, small_corpus: Corpus
) -> Path:
    """Of random weights in the true layouts, and forty real works."""
    directory = tmp_path_factory.mktemp("distillation")
    write_corpus(small_corpus, directory / "corpus.parquet")
    towers = write_small_clip(directory / "towers")
    content = {
        "name": "small",
        "created": "2026-11-29T12:00:00Z",
        "generator": str(random_generator_directory),
        "corpus": str(directory / "corpus.parquet"),
        "towers": str(towers),
        "teacher": "pixels",
        "queries": {
            "training": 60,
            "held_out": 16,
            "mixed_fraction": 0.3,
            "guidances": [2.0, 4.0],
            "listed": str(listed(directory / "listed.txt", 20)),
            "transfer": str(listed(directory / "transfer.txt", 8)),
            "transfer_count": 6,
        },
        "candidates": {"by_feature": 12, "by_student": 6, "at_random": 8},
        "training": {"epochs": 3, "hidden": 16, "layers": 1, "reduced": 0, "width": 32, "nested": [16]},
        "width": 16,
    }
    path = directory / "run.yaml"
    path.write_text(json.dumps(content))
    return path


def started(config: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "creditline.cli.main", "distill", "run", str(config)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--output", str(output), *options], env=environment, stdout=subprocess.PIPE
    )


def finished(config: Path, output: Path, *options: str) -> str:
    process = started(config, output, *options)
    said, _ = process.communicate(timeout=_SECONDS)
    assert process.returncode == 0
    return said.decode()


def killed_when(pattern: str, config: Path, output: Path) -> None:
    """Kill -9 as soon as a file of that pattern is there."""
    process = started(config, output)
    until = time.monotonic() + _SECONDS
    while not list(output.glob(pattern)):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.002)
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Of one process that ran through."""
    output: Path = tmp_path_factory.mktemp("whole")
    finished(config, output)
    return open_release(output / "release")


@pytest.mark.heavy
def test_a_run_killed_at_three_places_gives_the_release_of_one_that_was_not(
    config: Path, whole: Release, small_corpus: Corpus, tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    for pattern in ("queries/pictures-000000.npz", "shards/*/parts/000000.npz", "stages/training.json"):
        killed_when(pattern, config, output)
        assert not (output / "release" / "release.json").exists()
    said = finished(config, output)
    assert "[7/11] training: already finished" in said
    resumed = open_release(output / "release")
    assert resumed.files == whole.files
    assert (resumed.dimension, resumed.works) == (16, len(small_corpus))
    assert {INTERVALS, OOD_DETECTOR, EVALUATION} <= set(resumed.files)
    _verifies(resumed, small_corpus, config)
    evaluation = json.loads((resumed.directory / EVALUATION).read_text())
    assert {"transfer_ndcg100", "transfer_coverage", "transfer_ndcg100_of_ceiling"} <= set(evaluation)
    _labels_are_of_candidates(read_labels(output / "labels"), read_labels(output / "first-labels"))


@pytest.mark.heavy
def test_two_shards_started_at_once_build_each_stage_once_and_label_what_one_process_would(
    config: Path, whole: Release, tmp_path: Path
) -> None:
    output = tmp_path / "shards"
    shards = [started(config, output, "--shard", f"{number}/2") for number in (1, 2)]
    said = [process.communicate(timeout=_SECONDS)[0].decode() for process in shards]
    assert [process.returncode for process in shards] == [0, 0]
    for stage in ("queries", "first-candidates"):
        took = [re.search(rf"{stage}: \d+ s", each) is not None for each in said]
        assert sorted(took) == [False, True], f"{stage} was built by {sum(took)} processes"
    finished(config, output)
    assert open_release(output / "release").files == whole.files


@pytest.mark.heavy
def test_a_finished_run_adds_what_re_ranked_answers_need_to_a_copy(
    config: Path, whole: Release, tmp_path: Path
) -> None:
    into = tmp_path / "into"
    said = finished(config, whole.directory.parent, "--into", str(into), "--rerank")
    copy = open_release(into)
    copy.verify_files()
    assert re.search(r"nDCG@100\): 0\.\d+ re-ranked, 0\.\d+ fast", said)
    assert copy.reranking() is not None
    assert whole.reranking() is None
    assert {name: copy.files[name] for name in whole.files} == whole.files


def _labels_are_of_candidates(labels: LabelSet, first: LabelSet) -> None:
    """Queries that teach have 20 candidates of the first round, and 6 that the first student named."""
    assert [len(labels.rows(split)) for split in (TRAIN, HELD_OUT, TRANSFER)] == [60, 16, 6]
    assert first.inclusion is not None
    assert labels.inclusion is not None
    rows, judging = labels.rows(TRAIN), np.concatenate([labels.rows(HELD_OUT), labels.rows(TRANSFER)])
    assert (labels.inclusion[judging] == 1.0).all()
    assert set((first.inclusion[rows] > 0).sum(axis=1)) == {20}
    certain = [(each.inclusion[rows] == 1.0).sum(axis=1) for each in (first, labels)]
    assert set(certain[1] - certain[0]) == {6}
    known = first.inclusion[rows] > 0
    np.testing.assert_array_equal(labels.influence[rows][known], first.influence[rows][known])
    assert (labels.influence[rows][labels.inclusion[rows] == 0.0] == 0.0).all()
    prompts = [labels.queries[row].prompt for row in rows]
    assert sum(prompt.startswith("listed prompt") for prompt in prompts) == 15


def _verifies(release: Release, corpus: Corpus, config: Path) -> None:
    towers = Towers.open(TowerSpec.parse(json.loads(config.read_text())["towers"]))
    assert verify_release(release, corpus, towers, sample=5, seed=0).lowest_cosine > 0.9999
    intervals = release.intervals()
    assert intervals is not None
    assert intervals.coverage == pytest.approx(0.9)
