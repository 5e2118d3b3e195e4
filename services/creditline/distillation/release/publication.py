"""Writes a release: encoder, works' vectors, calibration, model card, fingerprints."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.corpus.works import Corpus
from creditline.distillation.release.model_card import model_card
from creditline.encoder.encoder import Encoder
from creditline.encoder.ood import OodDetector
from creditline.release import (
    CALIBRATION,
    ENCODER,
    EVALUATION,
    FILES,
    INTERVALS,
    MANIFEST,
    MODEL_CARD,
    MORE_FILES,
    OOD_DETECTOR,
    Release,
    write_manifest,
    write_work_vectors,
)


@dataclass(frozen=True, eq=False)
class ReleaseContent:
    """What a release is made of.

    work_vectors: (N, width) float32, row i of `corpus.works[i]`; `figures` go into the model card and the
    description; `notes` is a paragraph of the model card on how the encoder came about. intervals, familiar:
    how sure answers are; evaluation: the figures with their intervals, of JSON's kinds. created: now if None.
    """

    name: str
    encoder: Encoder
    work_vectors: NDArray[np.float32]
    calibration: Calibration
    corpus: Corpus
    generator_fingerprint: str
    towers_fingerprint: str
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""
    intervals: AnswerIntervals | None = None
    ood_detector: OodDetector | None = None
    evaluation: Mapping[str, Any] | None = None
    created: datetime.datetime | None = None


def write_release(content: ReleaseContent, directory: Path) -> Release:
    """Write or replace a release; `release.json` comes last, so that a directory with one is complete."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST, *FILES, *MORE_FILES):
        (directory / name).unlink(missing_ok=True)
    content.encoder.save(directory / ENCODER)
    write_work_vectors(directory, content.corpus.ids, content.work_vectors)
    (directory / CALIBRATION).write_text(content.calibration.to_json() + "\n")
    if content.intervals is not None:
        (directory / INTERVALS).write_text(content.intervals.to_json() + "\n")
    if content.ood_detector is not None:
        content.ood_detector.save(directory / OOD_DETECTOR)
    if content.evaluation is not None:
        (directory / EVALUATION).write_text(json.dumps(content.evaluation, indent=1) + "\n")
    description = _description(content)
    (directory / MODEL_CARD).write_text(model_card(description, content.notes))
    return write_manifest(directory, description)


def _description(content: ReleaseContent) -> dict[str, Any]:
    return {
        "name": content.name,
        "created": (content.created or datetime.datetime.now(datetime.UTC)).isoformat(timespec="seconds"),
        "generator_fingerprint": content.generator_fingerprint,
        "corpus_name": content.corpus.name,
        "corpus_fingerprint": content.corpus.fingerprint,
        "towers_fingerprint": content.towers_fingerprint,
        "width": content.encoder.shape.width,
        "works": len(content.corpus),
        "figures": dict(content.figures),
    }
