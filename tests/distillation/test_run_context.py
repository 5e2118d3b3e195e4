"""Resources of a run: the check of the generator that comes before its first picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.distillation.run_config import RunConfig
from creditline.distillation.run_context import RunContext
from creditline.generator.pipeline import Generator


@pytest.mark.parametrize(
    ("checked", "reported"), [(True, "cannot be told from its outputs"), (False, "is not checked")]
)
def test_the_prediction_type_is_checked_and_reported_unless_the_configuration_says_otherwise(
    random_generator: Generator, tmp_path: Path, checked: bool, reported: str
) -> None:
    lines: list[str] = []
    context = RunContext(RunConfig(name="run", prediction_check=checked), tmp_path, lines.append)
    context.check_prediction(random_generator)
    assert len(lines) == 1
    assert reported in lines[0]
