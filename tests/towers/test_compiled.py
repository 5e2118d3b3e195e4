"""Compiled towers: equal to eager torch, made once, never stale, and not served where they differ."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import creditline.errors
from creditline.corpus.works import Corpus
from creditline.settings import user_cache_directory
from creditline.towers.compiled.cache import entry_name
from creditline.towers.compiled.check import INPUTS, LEAST_COSINE, least_cosine, text_batches
from creditline.towers.compiled.opening import compile_towers
from creditline.towers.embedded import file_digest
from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers
from tests.distillation.small_towers import SMALL_CLIP, write_small_clip

_TEXTS = ["", "a red ladybug on a leaf", "x", "an old wooden house beside a tree, in winter " * 12]


def _small(directory: Path) -> Towers:
    return Towers.open(TowerSpec(str(directory)))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def made(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the small towers."""
    cache = tmp_path_factory.mktemp("cache")
    assert compile_towers(_small(clip), cache).eager == {}
    return cache


@pytest.fixture
def cache(made: Path, tmp_path: Path) -> Path:
    """A copy of that cache, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "cache"))


def _pictures(corpus: Corpus) -> list[Image.Image]:
    return [work.picture() for work in corpus.works[: len(_TEXTS)]]


def _assert_same_features(ours: Towers, theirs: Towers, corpus: Corpus) -> None:
    pictures = _pictures(corpus)
    found, wanted = (each.features(pictures, _TEXTS) for each in (ours, theirs))
    np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_embedded_towers_run_compiled_with_the_features_of_eager_torch(
    towers: Towers, small_corpus: Corpus, threads: int
) -> None:
    opened = compile_towers(towers, user_cache_directory() / "towers", threads=threads)
    assert opened.eager == {}
    assert opened.towers.fingerprint == towers.fingerprint
    _assert_same_features(opened.towers, towers, small_corpus)


def test_the_check_has_200_inputs_and_texts_of_mixed_lengths_in_one_batch() -> None:
    batches = list(text_batches())
    assert sum(map(len, batches)) == INPUTS >= 200
    assert sum(len({len(text.split()) for text in batch}) > 3 for batch in batches) >= 10


def test_a_cosine_below_the_limit_or_a_number_that_is_none_is_seen() -> None:
    reference = np.random.default_rng(0).normal(size=(INPUTS, 32)).astype(np.float32)
    assert least_cosine(2 * reference, reference) >= LEAST_COSINE
    turned, broken = reference.copy(), reference.copy()
    turned[7] += 0.01 * np.roll(reference[7], 1)
    broken[7, 3] = np.nan
    assert least_cosine(turned, reference) < LEAST_COSINE
    assert not least_cosine(broken, reference) >= LEAST_COSINE
    assert not least_cosine(reference[1:], reference) >= LEAST_COSINE


def test_a_second_opening_takes_the_files_of_the_first(clip: Path, cache: Path, small_corpus: Corpus) -> None:
    (entry,) = [path for path in cache.iterdir() if path.is_dir()]
    before = {path.name: path.stat().st_mtime_ns for path in entry.iterdir()}
    opened = compile_towers(_small(clip), cache)
    assert opened.eager == {}
    assert {path.name: path.stat().st_mtime_ns for path in entry.iterdir()} == before
    _assert_same_features(opened.towers, _small(clip), small_corpus)


def test_an_opening_marks_its_entry_as_used_and_removes_old_ones(clip: Path, cache: Path) -> None:
    towers = _small(clip)
    own, old = cache / entry_name(towers), cache / f"{0:032x}-{0:016x}"
    shutil.copytree(own, old)
    for entry in (own, old):
        os.utime(entry, (0, 0))
    assert compile_towers(towers, cache).eager == {}
    assert own.stat().st_mtime > time.time() - 3600
    assert not old.exists()


def test_other_weights_have_a_directory_of_their_own(clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(clip, other)
    torch.manual_seed(1)
    save_file(open_clip.CLIP(**SMALL_CLIP).state_dict(), other / "open_clip_model.safetensors")
    assert entry_name(_small(clip)) == entry_name(_small(clip))
    assert entry_name(_small(clip)) != entry_name(_small(other))


def test_a_damaged_file_is_made_again(clip: Path, cache: Path, small_corpus: Corpus) -> None:
    towers = _small(clip)
    path = cache / entry_name(towers) / "text.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    opened = compile_towers(towers, cache)
    assert opened.eager == {}
    assert path.stat().st_size > len(whole) // 2
    _assert_same_features(opened.towers, towers, small_corpus)


def test_the_same_weights_under_another_configuration_are_made_again(
    clip: Path, cache: Path, tmp_path: Path, small_corpus: Corpus
) -> None:
    other = Path(shutil.copytree(clip, tmp_path / "other"))
    configuration = json.loads((other / "open_clip_config.json").read_text())
    configuration["model_cfg"]["text_cfg"]["heads"] = 4
    (other / "open_clip_config.json").write_text(json.dumps(configuration))
    towers = _small(other)
    opened = compile_towers(towers, cache)
    assert opened.eager == {}
    _assert_same_features(opened.towers, towers, small_corpus)


def test_a_network_that_gives_other_features_does_not_serve(
    clip: Path, cache: Path, small_corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    towers = _small(clip)
    _put_other_image_network(cache / entry_name(towers))
    with caplog.at_level(logging.WARNING):
        opened = compile_towers(towers, cache)
    assert list(opened.eager) == ["image"]
    assert "the image tower runs by eager torch" in caplog.text
    assert f"of {INPUTS} inputs" in caplog.text
    _assert_same_features(opened.towers, towers, small_corpus)


def _put_other_image_network(entry: Path) -> None:
    """Change a weight in the file, and the digest that the manifest holds of it."""
    import onnx
    from onnx import numpy_helper

    path, manifest = entry / "image.onnx", entry / "manifest.json"
    network = onnx.load(path)
    largest = max(network.graph.initializer, key=lambda weights: len(weights.raw_data))
    changed = numpy_helper.to_array(largest)[::-1].copy()
    largest.CopyFrom(numpy_helper.from_array(changed, largest.name))
    onnx.save(network, path)
    content = json.loads(manifest.read_text())
    content["files"]["image.onnx"] = file_digest(path)
    manifest.write_text(json.dumps(content))


def test_a_cache_that_cannot_be_written_costs_the_cache_only(
    clip: Path, tmp_path: Path, small_corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    towers = _small(clip)
    occupied = tmp_path / "occupied"
    occupied.write_text("")
    with caplog.at_level(logging.WARNING):
        opened = compile_towers(towers, occupied)
    assert opened.eager == {}
    assert "set CREDITLINE_EMBEDDER_TOWERS_CACHE" in caplog.text
    _assert_same_features(opened.towers, towers, small_corpus)


def test_a_full_cache_is_read_without_the_right_to_write(
    clip: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache that is part of an image lies on a file system that is mounted read-only."""
    for lock in cache.glob(".*.lock"):
        lock.unlink()
    with caplog.at_level(logging.INFO):
        assert compile_towers(_small(clip), cache).eager == {}
    assert not list(cache.glob(".*.lock")), "the lock, which has to be written, is not needed"
    assert "compiling" not in caplog.text


def test_drafts_of_processes_that_were_killed_are_removed(clip: Path, tmp_path: Path) -> None:
    towers = _small(clip)
    left = tmp_path / f".{entry_name(towers)}.abc12345.draft"
    (left / "part").mkdir(parents=True)
    other = tmp_path / ".another-entry.abc12345.draft"
    other.mkdir()
    compile_towers(towers, tmp_path)
    assert not left.exists()
    assert other.exists()


def test_the_exporter_leaves_the_log_to_the_service(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """onnx_ir 1.1.0 notes each of hundreds of optimisations at INFO while torch 2.14 exports."""
    with caplog.at_level(logging.INFO):
        compile_towers(_small(clip), tmp_path)
    assert {record.name.partition(".")[0] for record in caplog.records} == {"creditline"}


def test_onnx_runtime_leaves_nothing_in_the_home_and_reports_nothing(tmp_path: Path) -> None:
    """The official build of onnxruntime 1.32.0 for Linux sends telemetry from its import on.

    It also writes an id of the device and a database of events under ~/.cache/Microsoft/DeveloperTools; only
    ORT_DISABLE_TELEMETRY in the environment prevents both (microsoft/onnxruntime, pull request 27379), and
    `disable_telemetry_events()` does not. It is silent where CI is set, so that no test may see it.
    """
    own = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "", "PYTHONDONTWRITEBYTECODE": "1"}
    program = "import creditline.towers.compiled.session"
    subprocess.run([sys.executable, "-c", program], env=own | home, check=True, timeout=120)
    assert not [path for path in tmp_path.rglob("*") if "Microsoft" in path.parts]


def test_nothing_else_imports_onnx_runtime() -> None:
    """A module that imports it by itself could be the first, with telemetry."""
    services = Path(creditline.errors.__file__).parent
    imports = re.compile(r"^\s*(import|from) onnxruntime", re.MULTILINE)
    importers = [path for path in services.rglob("*.py") if imports.search(path.read_text())]
    assert [path.relative_to(services) for path in importers] == [Path("towers/compiled/runtime.py")]
