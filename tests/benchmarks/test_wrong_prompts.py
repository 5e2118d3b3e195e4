"""Queries with a prompt that is not their picture's: which are held out, and what counts as found."""

from __future__ import annotations

import numpy as np

from creditline.distillation.labels.label_set import HELD_OUT, TRAIN, read_labels
from creditline.generator.reference import reference_corpus
from tests.benchmarks.wrong_prompts import (
    JUDGED,
    REFERENCE_LABELS,
    found_in_first,
    judged_works,
    pairs,
)


def test_no_work_and_no_prompt_is_both_held_out_and_learnt_from_and_no_prompt_is_the_works_own() -> None:
    corpus, labels = reference_corpus(), read_labels(REFERENCE_LABELS)
    listed = pairs(labels, corpus)
    held_out, training = ([pair for pair in listed if pair.split == split] for split in (HELD_OUT, TRAIN))
    assert len(held_out) == JUDGED
    assert len(set(judged_works(listed).tolist())) == JUDGED
    assert not {pair.work for pair in held_out} & {pair.work for pair in training}
    assert not {pair.prompt for pair in held_out} & {pair.prompt for pair in training}
    own = {int(row): query.prompt for row, query in enumerate(labels.queries)}
    pictures = {query.picture: own[row] for row, query in enumerate(labels.queries)}
    for pair in listed:
        genuine = corpus.works[pair.work].caption if pair.work is not None else pictures[pair.picture]
        assert pair.prompt != genuine


def test_an_own_work_is_found_among_the_first_and_not_behind_them() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]])
    assert found_in_first(scores, np.array([2, 2]), 2).tolist() == [1.0, 0.0]
