"""How sure a release is of its answers: its calibration, the band about it, and what it is familiar with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.intervals import Intervals
from creditline.distillation.assessment import HeldOut, encoder_cosines
from creditline.distillation.calibration_fitting import fit_calibration
from creditline.distillation.encoder import Encoder
from creditline.distillation.interval_fitting import fit_intervals
from creditline.distillation.unfamiliarity import FEWEST, Familiar


@dataclass(frozen=True, eq=False)
class Sureness:
    """familiar: None where there are too few pictures to tell what is usual."""

    calibration: Calibration
    intervals: Intervals
    familiar: Familiar | None


def fit_sureness(encoder: Encoder, known: NDArray[np.float32], held_out: HeldOut, *, seed: int) -> Sureness:
    """Fit on held-out queries. known: (Q, F) features of the queries that the encoder was trained on."""
    cosines = encoder_cosines(encoder, held_out)
    image = held_out.parts.slices()["image"]
    enough = min(len(known), len(held_out.queries)) >= FEWEST and held_out.parts.image > 0
    return Sureness(
        fit_calibration(cosines, held_out.relative),
        fit_intervals(cosines, held_out.relative, seed=seed),
        Familiar.of(known[:, image], held_out.queries[:, image]) if enough else None,
    )
