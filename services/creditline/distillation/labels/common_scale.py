"""Labels of a consensus on the common scale: expected rise of a query's loss without a work."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from creditline.distillation.labels.label_set import LabelSet
from creditline.evaluation.lab.common_scale import read_maps


def on_common_scale(labels: LabelSet) -> LabelSet:
    """Labels of a consensus, mapped to expected ΔL beyond any work's; labels of other teachers unchanged.

    The maps were fitted in the lab, on models that were retrained without works.
    """
    expected = read_maps().get(labels.teacher)
    if expected is None or labels.on_common_scale:
        return labels

    def mapped(scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return expected.excess(scores.astype(np.float64)).astype(np.float32)

    repeat = labels.influence_repeat
    return dataclasses.replace(
        labels,
        influence=mapped(labels.influence),
        influence_repeat=None if repeat is None else mapped(repeat),
        on_common_scale=True,
    )
