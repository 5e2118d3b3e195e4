"""The common scale of labels: expected increase of a query's loss when a work is removed from training."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from creditline.distillation.labels.label_set import LabelSet
from creditline.evaluation.lab.common_scale import read_maps


def on_common_scale(labels: LabelSet) -> LabelSet:
    """Map the labels of a consensus to expected ΔL, less the part that all works have in common.

    The maps were fitted in the lab, on models retrained without works. Labels of teachers without a map are
    returned unchanged, and so are labels that are mapped already.
    """
    to_expected = read_maps().get(labels.teacher)
    if to_expected is None or labels.on_common_scale:
        return labels

    def mapped(scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return to_expected.excess(scores.astype(np.float64)).astype(np.float32)

    repeat = labels.influence_repeat
    return dataclasses.replace(
        labels,
        influence=mapped(labels.influence),
        influence_repeat=None if repeat is None else mapped(repeat),
        on_common_scale=True,
    )
