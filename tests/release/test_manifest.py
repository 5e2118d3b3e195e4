"""Reading of a release: without torch, and with damaged files refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from creditline.calibration import Calibration
from creditline.errors import FingerprintMismatch, NotReady
from creditline.release import (
    CALIBRATION,
    ENCODER,
    FILES,
    MODEL_CARD,
    VECTORS,
    Release,
    open_release,
    reference_release_directory,
    write_manifest,
    write_work_vectors,
)

WIDTH = 8
IDS = ("a", "b", "c", "d", "e")


def written(directory: Path) -> Release:
    vectors = np.random.default_rng(0).normal(size=(len(IDS), WIDTH))
    write_work_vectors(directory, IDS, vectors)
    (directory / ENCODER).write_bytes(b"weights")
    (directory / CALIBRATION).write_text(Calibration((0.0, 1.0), (0.0, 2.0)).to_json())
    (directory / MODEL_CARD).write_text("# Release\n")
    fingerprints = {
        f"{what}_fingerprint": letter * 64
        for what, letter in (("generator", "a"), ("corpus", "b"), ("towers", "c"))
    }
    return write_manifest(
        directory,
        {
            "name": "r1",
            "created": "2026-01-01T00:00:00+00:00",
            "corpus_name": "letters",
            "width": WIDTH,
            "works": len(IDS),
            "figures": {"ndcg100": 0.5},
            **fingerprints,
        },
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    release = written(tmp_path)
    assert open_release(tmp_path) == release
    assert release.collection == "works-r1"
    assert release.work_ids() == IDS
    assert release.calibration().expected_influence([0.5]).tolist() == [1.0]
    vectors = release.vectors()
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    release.verify_files()


def test_a_release_of_the_reference_generator_is_read_under_its_former_fingerprint(tmp_path: Path) -> None:
    written(tmp_path)
    manifest = tmp_path / "release.json"
    former = "67f291a3d8130f857c39fb1ef7a73e912e0751409acffa5f9f1ec6f6d55a070a"
    manifest.write_text(manifest.read_text().replace("a" * 64, former))
    packaged = open_release(reference_release_directory()).generator_fingerprint
    assert open_release(tmp_path).generator_fingerprint == packaged != former


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_changed_is_named(tmp_path: Path, name: str) -> None:
    release = written(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    with pytest.raises(FingerprintMismatch) as raised:
        release.verify_files()
    assert raised.value.field == name


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    release = written(tmp_path)
    (tmp_path / VECTORS).unlink()
    with pytest.raises(FingerprintMismatch, match=VECTORS):
        release.verify_files()


def test_vectors_of_another_shape_or_length_are_refused(tmp_path: Path) -> None:
    release = written(tmp_path)
    np.save(tmp_path / VECTORS, np.eye(len(IDS), dtype=np.float16))
    with pytest.raises(FingerprintMismatch, match="shape"):
        release.vectors()
    np.save(tmp_path / VECTORS, np.full((len(IDS), WIDTH), 0.5, dtype=np.float16))
    with pytest.raises(FingerprintMismatch, match="length 1"):
        release.vectors()


def test_a_missing_or_incomplete_release_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="distill run"):
        open_release(tmp_path)
    written(tmp_path)
    manifest = json.loads((tmp_path / "release.json").read_text())
    del manifest["width"]
    (tmp_path / "release.json").write_text(json.dumps(manifest))
    with pytest.raises(FingerprintMismatch, match="width"):
        open_release(tmp_path)


def test_the_environment_names_another_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDITLINE_RELEASE_DIRECTORY", str(tmp_path))
    assert reference_release_directory() == tmp_path
    monkeypatch.delenv("CREDITLINE_RELEASE_DIRECTORY")
    assert reference_release_directory().parts[-2:] == ("distillation", "reference")


def test_reading_a_release_needs_no_torch() -> None:
    program = "import sys; import creditline.release; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
