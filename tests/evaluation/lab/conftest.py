"""A lab that is small enough to be trained within seconds: all stages are real, but nothing is learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.corpus.works import Corpus
from creditline.evaluation.lab.plan import LabPlan
from creditline.evaluation.lab.retraining.models import retrain
from creditline.evaluation.lab.retraining.workshop import Workshop


@pytest.fixture(scope="session")
def small_plan() -> LabPlan:
    return LabPlan(
        works=12,
        subsets=2,
        seeds=2,
        epochs=3,
        batch=4,
        caption_queries=3,
        mixed_queries=2,
        held_out_queries=3,
    )


@pytest.fixture(scope="session")
def trained_lab(
    small_plan: LabPlan, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Workshop:
    directory: Path = tmp_path_factory.mktemp("lab")
    retrain(directory, small_corpus, small_plan, subsets=2, workers=2, report=lambda line: None)
    return Workshop.open(directory, small_corpus, small_plan)
