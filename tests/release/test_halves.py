"""What is fitted on a release belongs to its encoder; what belongs to another is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from creditline.calibration import Calibration
from creditline.calibration.halves import Halves, PictureRecall
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals
from creditline.encoder.agreement import PromptAgreement
from creditline.encoder.imputation import Imputation
from creditline.errors import FingerprintMismatch
from creditline.release import (
    ENCODER,
    HALVES,
    IMPUTATION,
    PROMPT_AGREEMENT,
    file_sha256,
    open_release,
    packaged_release_directory,
    write_manifest,
)
from tests.release.test_manifest import written

_CURVE = Calibration((0.0, 1.0), (0.0, 1.0))
_INTERVALS = AnswerIntervals(
    Intervals((0.0,), (0.0,), (0.5,), 0.9), DeviationInterval(-1.0, 1.0), DeviationInterval(-1.0, 1.0)
)
_HALVES = Halves(_CURVE, _CURVE, _INTERVALS, PictureRecall(0.2, 0.1, 0.3, 0.5))


def test_all_that_is_fitted_on_the_packaged_release_belongs_to_its_encoder() -> None:
    """Fails where the encoder was replaced and `make refit` was not run."""
    directory = packaged_release_directory()
    encoder = file_sha256(directory / ENCODER)
    halves = open_release(directory).halves()
    assert halves is not None
    fitted = {
        HALVES: halves.encoder,
        IMPUTATION: Imputation.load(directory / IMPUTATION).encoder,
        PROMPT_AGREEMENT: PromptAgreement.load(directory / PROMPT_AGREEMENT).encoder,
    }
    assert fitted == dict.fromkeys(fitted, encoder)


def test_a_release_gives_the_calibrations_of_its_halves_and_refuses_those_of_another(tmp_path: Path) -> None:
    release = written(tmp_path)
    assert release.halves() is None
    for encoder in ("", release.files[ENCODER]):
        stated = replace(_HALVES, encoder=encoder)
        (tmp_path / HALVES).write_text(stated.to_json())
        assert write_manifest(tmp_path, release.description).halves() == stated
    (tmp_path / HALVES).write_text(replace(_HALVES, encoder="f" * 64).to_json())
    foreign = write_manifest(tmp_path, release.description)
    with pytest.raises(FingerprintMismatch, match="was fitted for encoder ffffffffffffffff…") as refused:
        foreign.halves()
    assert refused.value.field == HALVES
