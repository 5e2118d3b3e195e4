"""Checks of a label set before anything is trained on it."""

from __future__ import annotations

import numpy as np

from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import HELD_OUT, TRAIN, LabelSet
from creditline.errors import FingerprintMismatch, InvalidInput


def refuse_unusable(labels: LabelSet, corpus: Corpus) -> None:
    """Check that labels fit a corpus and can be trained on.

    Raises:
        FingerprintMismatch: The labels are of another corpus.
        InvalidInput: A split is missing, splits share prompts or seeds, all labels of a query are equal, or a
            query that judges lacks the label of a work.
    """
    if labels.corpus_fingerprint != corpus.fingerprint:
        raise FingerprintMismatch(
            f"the labels are of corpus {labels.corpus_name!r} {labels.corpus_fingerprint[:16]}…, not of"
            f" {corpus.name!r} {corpus.fingerprint[:16]}…; label again, or name the other corpus",
            field="corpus_fingerprint",
        )
    for split in (TRAIN, HELD_OUT):
        if len(labels.rows(split)) < 2:
            raise InvalidInput(f"the labels have no {split!r} queries or only one; label more", field="split")
    _refuse_unlabelled(labels)
    _refuse_equal(labels)
    labels.refuse_overlap()


def refuse_other_generator(labels: LabelSet, generator: str) -> None:
    """Check that labels are of pictures that this generator made.

    Raises:
        FingerprintMismatch: They are of another generator's pictures.
    """
    if labels.generator_fingerprint != generator:
        raise FingerprintMismatch(
            f"the labels are of pictures by generator {labels.generator_fingerprint[:16]}…, not by"
            f" {generator[:16]}…; label with this one, or name the other",
            field="generator_fingerprint",
        )


def _refuse_equal(labels: LabelSet) -> None:
    """A query whose works all have the same label teaches nothing and judges nothing."""
    seen = np.ones_like(labels.influence) if labels.inclusion is None else labels.inclusion
    highest = np.where(seen > 0.0, labels.influence, -np.inf).max(axis=1)
    lowest = np.where(seen > 0.0, labels.influence, np.inf).min(axis=1)
    equal = np.flatnonzero(highest <= lowest)
    if len(equal):
        prompt = labels.queries[int(equal[0])].prompt
        raise InvalidInput(
            f"all labels of {len(equal)} queries are equal, e.g. of {prompt!r}; see that the teacher can"
            " forget those pictures, or leave the queries out",
            field="influence",
        )


def _refuse_unlabelled(labels: LabelSet) -> None:
    """Queries that judge need every work's label."""
    if labels.inclusion is None:
        return
    judging = [row for row, query in enumerate(labels.queries) if query.split != TRAIN]
    if (labels.inclusion[judging] < 1.0).any():
        raise InvalidInput(
            "a query that judges has works without a label; label every work for those", field="inclusion"
        )
