"""Label sets that cannot be trained on are refused before any training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from creditline.corpus.works import Corpus
from creditline.distillation.labels.checks import refuse_other_generator, refuse_unusable
from creditline.errors import FingerprintMismatch, InvalidInput
from tests.distillation.label_sets import labels_of


def test_labels_of_another_corpus_or_with_shared_prompts_are_refused(small_corpus: Corpus) -> None:
    labels = labels_of(small_corpus)
    other = dataclasses.replace(labels, corpus_fingerprint="f" * 64)
    shared = dataclasses.replace(labels.queries[-1], prompt=labels.queries[0].prompt)
    overlapping = dataclasses.replace(labels, queries=(*labels.queries[:-1], shared))
    for wrong, error in ((other, FingerprintMismatch), (overlapping, InvalidInput)):
        with pytest.raises(error):
            refuse_unusable(wrong, small_corpus)


def test_a_query_whose_labels_are_all_equal_is_refused(small_corpus: Corpus) -> None:
    labels = labels_of(small_corpus)
    influence = labels.influence.copy()
    influence[3] = 0.25
    with pytest.raises(InvalidInput, match=r"all labels of 1 queries are equal, e.g. of 'a picture of 3'"):
        refuse_unusable(dataclasses.replace(labels, influence=influence), small_corpus)


def test_a_query_whose_candidates_have_equal_labels_is_refused(small_corpus: Corpus) -> None:
    labels = labels_of(small_corpus)
    influence, inclusion = labels.influence.copy(), np.ones_like(labels.influence)
    inclusion[2, 4:] = 0.0
    influence[2, :4] = 1.0
    some = dataclasses.replace(labels, influence=influence, inclusion=inclusion)
    with pytest.raises(InvalidInput, match="all labels of 1 queries are equal"):
        refuse_unusable(some, small_corpus)


def test_a_query_that_judges_must_have_every_label(small_corpus: Corpus) -> None:
    labels = labels_of(small_corpus)
    inclusion = np.ones_like(labels.influence)
    inclusion[-1, 0] = 0.5
    with pytest.raises(InvalidInput, match="label every work for those"):
        refuse_unusable(dataclasses.replace(labels, inclusion=inclusion), small_corpus)


def test_labels_of_another_generator_are_refused_with_both_fingerprints(small_corpus: Corpus) -> None:
    with pytest.raises(
        FingerprintMismatch, match=r"by generator aaaaaaaaaaaaaaaa…, not by\s+bbbbbbbbbbbbbbbb…"
    ):
        refuse_other_generator(labels_of(small_corpus), "b" * 64)
    refuse_other_generator(labels_of(small_corpus), "a" * 64)
