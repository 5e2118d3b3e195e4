"""A lab's directory is restored from its record and its generator's weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch
from creditline.evaluation.lab.record import collect
from creditline.evaluation.lab.restoring import restore
from creditline.evaluation.lab.retraining.workshop import Workshop
from creditline.generator.fingerprint import generator_fingerprint

pytestmark = [pytest.mark.slow]


def test_a_restored_lab_trains_and_judges_as_the_first_one(
    trained_lab: Workshop, small_corpus: Corpus, tmp_path: Path
) -> None:
    restored = Workshop.open(tmp_path, small_corpus, trained_lab.plan)
    restore(restored, collect(trained_lab), trained_lab.directory / "unet")
    assert generator_fingerprint(restored.generator) == generator_fingerprint(trained_lab.generator)
    for name in ("works_file", "queries_file"):
        ours, theirs = (load_file(getattr(lab, name)) for lab in (restored, trained_lab))
        assert ours.keys() == theirs.keys()
        for key, values in ours.items():
            torch.testing.assert_close(values, theirs[key], rtol=1e-4, atol=1e-4)


def test_weights_of_another_record_are_refused(
    trained_lab: Workshop, small_corpus: Corpus, tmp_path: Path
) -> None:
    record = replace(collect(trained_lab), generator="another")
    with pytest.raises(FingerprintMismatch, match="not that of the record"):
        restore(
            Workshop.open(tmp_path, small_corpus, trained_lab.plan), record, trained_lab.directory / "unet"
        )
