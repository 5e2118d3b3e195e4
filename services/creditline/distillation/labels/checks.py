"""Checks of a label set before anything is trained on it."""

from __future__ import annotations

import numpy as np

from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import HELD_OUT, TRAIN, LabelSet
from creditline.errors import FingerprintMismatch, InvalidInput


def refuse_unusable(labels: LabelSet, corpus: Corpus) -> None:
    """Check that labels belong to a corpus and can be trained on.

    Raises:
        FingerprintMismatch: The labels are of another corpus.
        InvalidInput: A split has fewer than two queries, splits share prompts or seeds, all labels of a query
            are equal, or an evaluation query lacks the label of a work.
    """
    if labels.corpus_fingerprint != corpus.fingerprint:
        raise FingerprintMismatch(
            f"the labels are of corpus {labels.corpus_name!r} {labels.corpus_fingerprint[:16]}…, not of"
            f" {corpus.name!r} {corpus.fingerprint[:16]}…; label the queries again, or configure that corpus",
            field="corpus_fingerprint",
        )
    for split in (TRAIN, HELD_OUT):
        count = len(labels.rows(split))
        if count < 2:
            raise InvalidInput(
                f"the labels need at least 2 {split!r} queries, but have {count}; label more",
                field="split",
            )
    _refuse_unlabelled(labels)
    _refuse_equal(labels)
    labels.refuse_overlap()


def refuse_other_generator(labels: LabelSet, generator: str) -> None:
    """Check that the labelled pictures were made by a generator.

    Args:
        labels: The label set.
        generator: Fingerprint of the generator.

    Raises:
        FingerprintMismatch: Another generator made the pictures.
    """
    if labels.generator_fingerprint != generator:
        raise FingerprintMismatch(
            f"the labels are of pictures by generator {labels.generator_fingerprint[:16]}…, not by"
            f" {generator[:16]}…; label pictures of this generator, configure the other, or rename it in"
            " label sets of before with `creditline generator migrate`",
            field="generator_fingerprint",
        )


def _refuse_equal(labels: LabelSet) -> None:
    """Refuse queries whose labels are all equal: they carry no information."""
    inclusion = np.ones_like(labels.influence) if labels.inclusion is None else labels.inclusion
    highest = np.where(inclusion > 0.0, labels.influence, -np.inf).max(axis=1)
    lowest = np.where(inclusion > 0.0, labels.influence, np.inf).min(axis=1)
    equal = np.flatnonzero(highest <= lowest)
    if len(equal):
        prompt = labels.queries[int(equal[0])].prompt
        raise InvalidInput(
            f"all labels of {len(equal)} queries are equal, e.g. of {prompt!r}; check that the teacher can"
            " unlearn those pictures, or leave the queries out",
            field="influence",
        )


def _refuse_unlabelled(labels: LabelSet) -> None:
    """Refuse evaluation queries that are not labelled for every work."""
    if labels.inclusion is None:
        return
    evaluation = [row for row, query in enumerate(labels.queries) if query.split != TRAIN]
    if (labels.inclusion[evaluation] < 1.0).any():
        raise InvalidInput(
            "an evaluation query (held-out or transfer) has works without a label; label every work for those"
            " queries",
            field="inclusion",
        )
