"""The record of draws: its sums are the scores of the full and the fast teacher, and it resumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.attributor import attribute
from creditline.attribution.methods.prepared_ascent import natural_ascent
from creditline.attribution.unlearning.fast_teacher import FastUnlearning
from creditline.attribution.unlearning.methods import Unlearning
from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch
from creditline.evaluation.lab.draws import EACH_DRAW, DrawRecord, collect_draws, read_draws, write_draws
from creditline.evaluation.lab.record import collect
from creditline.evaluation.lab.retraining.workshop import Workshop
from creditline.evaluation.lab.setting import LabSetting, open_setting

pytestmark = [pytest.mark.slow]
_ROWS = [0, 2]


@pytest.fixture(scope="module")
def setting(trained_lab: Workshop, small_corpus: Corpus) -> Iterator[LabSetting]:
    with open_setting(collect(trained_lab), small_corpus, trained_lab.directory / "unet") as opened:
        yield opened


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("draws")


@pytest.fixture(scope="module")
def record(setting: LabSetting, directory: Path) -> DrawRecord:
    forgetting = natural_ascent(setting.generator)(setting.works, directory)
    return collect_draws(setting, forgetting, _ROWS, directory)


@pytest.mark.heavy
def test_the_mean_over_draws_is_the_change_by_unlearning(
    setting: LabSetting, record: DrawRecord, tmp_path: Path
) -> None:
    method = Unlearning("again", setting.generator, natural_ascent(setting.generator), draws=EACH_DRAW)
    found = attribute(method, setting.works, setting.queries.rows(_ROWS), tmp_path).values
    np.testing.assert_allclose(record.changes.mean(axis=2), found, rtol=1e-3, atol=1e-6)


@pytest.mark.heavy
def test_the_controls_are_the_fast_teachers_first_order_part(
    setting: LabSetting, record: DrawRecord, tmp_path: Path
) -> None:
    method = FastUnlearning(
        "first", setting.generator, natural_ascent(setting.generator), "cross-attn", weight=0.0
    )
    found = attribute(method, setting.works, setting.queries.rows(_ROWS), tmp_path).values
    np.testing.assert_allclose(record.controls, found, rtol=1e-2, atol=1e-5 * np.abs(found).max())


def test_a_record_of_draws_is_read_as_it_was_written(record: DrawRecord, tmp_path: Path) -> None:
    write_draws(record, tmp_path / "draws.safetensors")
    read = read_draws(tmp_path / "draws.safetensors")
    for name in ("rows", "controls", "step_passes"):
        np.testing.assert_array_equal(getattr(read, name), getattr(record, name))
    for name in ("changes", "first_order"):
        ours, theirs = getattr(read, name), getattr(record, name)
        np.testing.assert_allclose(ours, theirs, atol=1e-3 * np.abs(theirs).max())


def test_results_of_other_queries_are_refused(
    setting: LabSetting, record: DrawRecord, directory: Path
) -> None:
    forgetting = natural_ascent(setting.generator)(setting.works, directory)
    with pytest.raises(FingerprintMismatch, match="queries"):
        collect_draws(setting, forgetting, [1], directory)
