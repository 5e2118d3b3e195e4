"""Every form of the benchmark's corpus is read as the same works, so that its figure compares forms alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditline.corpus.sources import open_source, survey
from tests.benchmarks.bring.source_forms import WITH_PICTURES, drawings, write_clip_features


@pytest.mark.parametrize("form", list(WITH_PICTURES))
def test_every_form_holds_the_same_works(tmp_path: Path, form: str) -> None:
    works = drawings(6)
    source = open_source(WITH_PICTURES[form](tmp_path / "corpus", works))
    found = [one.work for part in source.parts() for one in source.read(part) if one.work]
    assert sorted((work.caption, work.contributor, work.thumbnail) for work in found) == sorted(
        (work.caption, work.contributor, work.picture) for work in works
    )
    assert len({work.id for work in found}) == len(works)
    losses = {"download failed": 1} if form == "img2dataset parquet" else {}
    assert survey(source).losses == losses


def test_clip_features_hold_the_same_works_without_pictures(tmp_path: Path) -> None:
    works = drawings(6)
    source = open_source(write_clip_features(tmp_path / "clip", works, np.eye(6)))
    found = [one for part in source.parts() for one in source.read(part)]
    assert [(one.work.caption, one.work.contributor) for one in found if one.work] == [
        (work.caption, work.contributor) for work in works
    ]
    assert all(one.image_features is not None for one in found)
