"""Writing of a release: encoder, works' vectors, calibration, model card and manifest."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.unlearning.artifacts import copy_statistics
from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.corpus.works import Corpus, write_corpus
from creditline.distillation.assessment.halves_fitting import FittedHalves
from creditline.distillation.release.model_card import model_card
from creditline.encoder.agreement import PromptAgreement
from creditline.encoder.encoder import Encoder
from creditline.encoder.ood import OodDetector
from creditline.errors import Conflict
from creditline.release import (
    CALIBRATION,
    CORPUS_FILE,
    ENCODER,
    EVALUATION,
    FILES,
    INTERVALS,
    MANIFEST,
    MODEL_CARD,
    MORE_FILES,
    OOD_DETECTOR,
    PROMPT_AGREEMENT,
    TEACHER_DIRECTORY,
    TEACHER_STATISTICS,
    Part,
    Release,
    file_sha256,
    stated_part,
    write_manifest,
    write_work_vectors,
)
from creditline.release.parts import (
    CORPUS,
    GENERATOR,
    TEACHER,
    TOWERS,
    adapter_place,
    generator_adapters,
    generator_place,
    place_in,
    tower_place,
    towers_of,
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
    prompt_agreement: PromptAgreement | None = None
    """Agreement of pictures with prompts; None: the release has none."""
    halves: FittedHalves | None = None
    """Imputation and calibrations of pictures and prompts alone; None: the release has none."""
    evaluation: Mapping[str, Any] | None = None
    """Figures with their confidence intervals, as JSON values."""
    created: datetime.datetime | None = None
    """Time of creation; None: the current time."""
    adapters: tuple[str, ...] = ()
    """Adapters merged into the generator, as the manifest states them (`Part.adapters`)."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Places of corpus, generator, teacher's statistics and towers, by name (`creditline.release.parts`)."""
    teacher_statistics: Path | None = None
    """Directory of the teacher's statistics, which are copied into the release; None: it has none."""


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
    encoder = file_sha256(directory / ENCODER)
    write_work_vectors(directory, content.corpus.ids, content.work_vectors)
    (directory / CALIBRATION).write_text(content.calibration.to_json() + "\n")
    if content.intervals is not None:
        (directory / INTERVALS).write_text(content.intervals.to_json() + "\n")
    if content.ood_detector is not None:
        content.ood_detector.save(directory / OOD_DETECTOR)
    if content.prompt_agreement is not None:
        replace(content.prompt_agreement, encoder=encoder).save(directory / PROMPT_AGREEMENT)
    if content.halves is not None:
        content.halves.save(directory, encoder=encoder)
    if content.evaluation is not None:
        (directory / EVALUATION).write_text(json.dumps(content.evaluation, indent=1) + "\n")
    if content.places.get(CORPUS) == CORPUS_FILE:
        write_corpus(content.corpus, directory / CORPUS_FILE)
    if content.teacher_statistics is not None:
        copy_statistics(content.teacher_statistics, directory / TEACHER_DIRECTORY)
    description = {**_description(content), "parts": _parts(content, directory)}
    (directory / MODEL_CARD).write_text(model_card(description, content.notes))
    return write_manifest(directory, description)


def copy_release(release: Release, directory: Path) -> Release:
    """Copy a release to another directory, from which it finds the same corpus, generator and towers.

    Args:
        release: The release.
        directory: Directory to write to; a release that it holds is replaced.

    Returns:
        The copy.

    Raises:
        Conflict: The directory holds other files and no release.
    """
    refuse_other_files(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST, *FILES, *MORE_FILES):
        (directory / name).unlink(missing_ok=True)
    for name in release.files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(release.directory / name, directory / name)
    parts = {name: stated_part(_moved(release, name, directory)) for name in release.parts}
    return write_manifest(directory, {**release.description, "parts": parts})


def refuse_other_files(directory: Path) -> None:
    """Check that a release may be written to a directory.

    Raises:
        Conflict: It is a file, or holds files and no release.
    """
    if directory.is_dir() and ((directory / MANIFEST).is_file() or not any(directory.iterdir())):
        return
    if directory.exists():
        raise Conflict(
            f"{directory} holds other files and no release; name another directory, or empty it", field="into"
        )


def _moved(release: Release, name: str, directory: Path) -> Part:
    """A part of a release, as a copy of the release in another directory names it."""
    part = release.parts[name]
    if name == TOWERS:
        return replace(part, place=tower_place(directory, towers_of(release)))
    if name == GENERATOR:
        place = generator_place(release)
        if place is None:
            return part
        adapters = tuple(adapter_place(directory, adapter) for adapter in generator_adapters(release))
        return replace(part, place=place_in(directory, place), adapters=adapters)
    return part


def _parts(content: ReleaseContent, directory: Path) -> dict[str, dict[str, Any]]:
    """The parts that the manifest names, with their fingerprints."""
    fingerprints = {
        CORPUS: content.corpus.fingerprint,
        GENERATOR: content.generator_fingerprint,
        TOWERS: content.towers_fingerprint,
    }
    if TEACHER in content.places:
        fingerprints[TEACHER] = file_sha256(directory / TEACHER_STATISTICS)
    adapters = {GENERATOR: content.adapters}
    return {
        name: stated_part(Part(place, fingerprints[name], adapters.get(name, ())))
        for name, place in content.places.items()
    }


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
