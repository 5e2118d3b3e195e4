"""The lab's models, their training and their record use the lab's device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.methods.prepared_ascent import natural_ascent
from creditline.corpus.works import Corpus
from creditline.evaluation.lab.draws import collect_draws
from creditline.evaluation.lab.plan import LabPlan
from creditline.evaluation.lab.record import collect
from creditline.evaluation.lab.removal.removals import nothing_removed, retrain_without
from creditline.evaluation.lab.restoring import restore
from creditline.evaluation.lab.retraining.models import retrain
from creditline.evaluation.lab.retraining.workshop import Workshop
from creditline.evaluation.lab.setting import noise_queries, open_setting
from creditline.towers.gallery_features import GalleryFeatures
from tests.device_checks import META, one_device

pytestmark = [pytest.mark.slow]

_PLAN = LabPlan(
    works=6, subsets=2, seeds=1, epochs=1, batch=3, caption_queries=1, mixed_queries=0, held_out_queries=1
)


@pytest.mark.heavy
def test_a_lab_is_trained_restored_and_scored_there(small_corpus: Corpus, tmp_path: Path) -> None:
    plan, lab, again = _PLAN, tmp_path / "lab", tmp_path / "again"
    with one_device():
        retrain(lab, small_corpus, plan, subsets=2, workers=1, report=lambda line: None, device=META)
        workshop = Workshop.open(lab, small_corpus, plan, device=META)
        removals = nothing_removed([query.id for query in workshop.queries[:1]], [1])
        retrain_without(lab, small_corpus, plan, removals, workers=1, device=META)
        record = collect(workshop)
        restore(Workshop.open(again, small_corpus, plan, device=META), record, lab / "unet")
        with open_setting(record, small_corpus, lab / "unet", device=META) as setting:
            features = GalleryFeatures(str(setting.generator.device))
            forgetting = natural_ascent(setting.generator)(setting.works, tmp_path / "artifacts")
            draws = collect_draws(setting, forgetting, [0], tmp_path / "draws")
            assert str(features.towers.device) == META
            assert noise_queries(setting, 1).examples.latents.is_meta
    assert record.losses.shape[2] == len(workshop.queries)
    assert draws.first_order.shape[:2] == (1, 6)
    assert np.isfinite(draws.controls).all()
