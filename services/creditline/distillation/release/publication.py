"""Writing of a release: encoder, works' vectors, calibration, model card and manifest."""

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
    """Contents of a release that is to be written."""

    name: str
    """Name of the release."""
    encoder: Encoder
    """The encoder."""
    work_vectors: NDArray[np.float32]
    """(N, width) float32, vector i of `corpus.works[i]`."""
    calibration: Calibration
    """Map from cosine to expected influence."""
    corpus: Corpus
    """The works."""
    generator_fingerprint: str
    """Fingerprint of the generator whose pictures are attributed."""
    towers_fingerprint: str
    """Fingerprint of the towers that the encoder's features come from."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Figures for the model card and the manifest, by name."""
    notes: str = ""
    """Paragraphs of the model card on how the encoder was made, in Markdown."""
    intervals: AnswerIntervals | None = None
    """Intervals of an answer; None: the release states none."""
    ood_detector: OodDetector | None = None
    """Out-of-distribution detector; None: the release has none."""
    evaluation: Mapping[str, Any] | None = None
    """Figures with their confidence intervals, as JSON values."""
    created: datetime.datetime | None = None
    """Time of creation; None: the current time."""


def write_release(content: ReleaseContent, directory: Path) -> Release:
    """Write or replace a release; `release.json` is written last, so a directory with it is complete.

    Args:
        content: Contents of the release.
        directory: Directory to write to; it is created if needed.

    Returns:
        The release, read back from the directory.
    """
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
