"""Training examples from the training queries of a label set."""

from __future__ import annotations

from creditline.corpus.works import Corpus
from creditline.distillation.labels.candidates import inclusion_weights
from creditline.distillation.labels.common_scale import on_common_scale
from creditline.distillation.labels.label_set import TRAIN, LabelSet
from creditline.distillation.training.feature_store import FeatureStore
from creditline.distillation.training.fitting import Examples


def training_examples(labels: LabelSet, corpus: Corpus, store: FeatureStore) -> Examples:
    """Features of the training queries and of all works, with the labels on the common scale.

    Args:
        labels: The label set.
        corpus: The works, in the order of the labels' columns.
        store: Source of the features.
    """
    labels = on_common_scale(labels)
    rows = labels.rows(TRAIN)
    queries = store.queries(labels.queries)[rows]
    weights = None if labels.inclusion is None else inclusion_weights(labels.inclusion[rows])
    return Examples(queries, store.works(corpus), labels.influence[rows], store.towers.parts, weights)
