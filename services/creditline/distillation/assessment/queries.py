"""Held-out queries of a label set, as the features and influence that an encoder is evaluated on."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.works import Corpus
from creditline.distillation.assessment.held_out import HeldOut
from creditline.distillation.labels.common_scale import on_common_scale
from creditline.distillation.labels.label_set import HELD_OUT, LabelSet
from creditline.distillation.training.feature_store import FeatureStore


def held_out_queries(
    labels: LabelSet,
    corpus: Corpus,
    decoys: Corpus | None,
    store: FeatureStore,
    split: str = HELD_OUT,
) -> HeldOut:
    """Queries of an evaluation split with all works, and with decoys if given, on the common scale.

    Args:
        labels: The label set.
        corpus: The works, in the order of the labels' columns.
        decoys: Pictures that the generator never saw; None: no decoy figures.
        store: Source of the features.
        split: "heldout" or "transfer".
    """
    labels = on_common_scale(labels)
    rows = labels.rows(split)
    held_out = HeldOut(
        queries=store.queries(labels.queries)[rows],
        works=store.works(corpus),
        influence=labels.influence[rows],
        parts=store.towers.parts,
        influence_repeat=labels.repeat(split),
    )
    return held_out if decoys is None else _with_decoys(held_out, labels, rows, decoys, store)


def _with_decoys(
    held_out: HeldOut, labels: LabelSet, rows: NDArray[np.intp], decoys: Corpus, store: FeatureStore
) -> HeldOut:
    influence = None
    if labels.decoy_influence is not None and labels.decoy_fingerprint == decoys.fingerprint:
        influence = labels.decoy_influence[rows]
    return dataclasses.replace(held_out, decoys=store.works(decoys), decoy_influence=influence)
