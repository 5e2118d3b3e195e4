"""`creditline generator`: the fingerprint of a directory, and the migration of artifacts of before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from creditline.cli.generator import app
from creditline.errors import InvalidInput
from creditline.generator.migration import former_fingerprint
from tests.pipeline_variations import BAD, GOOD
from tests.pipelines import stable_diffusion_15


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return stable_diffusion_15(tmp_path / "generator")


def test_a_directorys_fingerprint_is_printed_with_what_is_not_applied(directory: Path) -> None:
    GOOD["LoRA file in the root"].change(directory)
    printed = CliRunner().invoke(app, ["fingerprint", str(directory)])
    described = json.loads(CliRunner().invoke(app, ["fingerprint", str(directory), "--json"]).stdout)
    assert printed.stdout.strip() == described["fingerprint"]
    assert "is a LoRA file, which is not applied" in printed.stderr
    assert described["parts"].keys() == {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}
    assert len(described["notes"]) == 1


def test_an_unusable_directory_is_refused_by_the_command(directory: Path) -> None:
    BAD["no cross-attention"].change(directory)
    refused = CliRunner().invoke(app, ["fingerprint", str(directory)])
    assert isinstance(refused.exception, InvalidInput)
    assert "lacks 20 of the 208 tensors" in refused.exception.message


def test_artifacts_of_before_are_migrated_by_one_command(directory: Path, tmp_path: Path) -> None:
    labels, former = tmp_path / "label-set.json", former_fingerprint(directory)
    labels.write_text(json.dumps({"generator_fingerprint": former}))
    done = CliRunner().invoke(app, ["migrate", str(directory), str(labels)])
    today = json.loads(labels.read_text())["generator_fingerprint"]
    assert done.stdout.splitlines() == [str(labels), f"{former} is now {today}"]
