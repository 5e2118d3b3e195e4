"""The training queries of a label set as examples to train on."""

from __future__ import annotations

from creditline.corpus.works import Corpus
from creditline.distillation.labels.candidates import weights_of
from creditline.distillation.labels.common_scale import on_common_scale
from creditline.distillation.labels.label_set import TRAIN, LabelSet
from creditline.distillation.training.feature_store import FeatureStore
from creditline.distillation.training.fitting import Examples


def training_examples(labels: LabelSet, corpus: Corpus, store: FeatureStore) -> Examples:
    """The training queries of a label set with all works, as features, on the common scale."""
    labels = on_common_scale(labels)
    rows = labels.rows(TRAIN)
    queries = store.queries(labels.queries)[rows]
    weights = None if labels.inclusion is None else weights_of(labels.inclusion[rows])
    return Examples(queries, store.works(corpus), labels.influence[rows], store.towers.parts, weights)
