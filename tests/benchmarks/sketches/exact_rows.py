"""Exact gradient rows of the lab's works and queries: attention only, 24 draws, before any compression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from creditline.attribution.fisher.ekfac import fisher_of_rows
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.attribution.methods.gradient_rows import GradientSpace
from creditline.attribution.methods.hyperparameters import FEW_OUTPUT, FEW_OWN_NOISE
from creditline.evaluation.lab.setting import LabSetting
from creditline.generator.losses import Examples, denoising_losses

OUTPUT = replace(FEW_OUTPUT, compressed=0)
LOSS = replace(FEW_OWN_NOISE, whitening=None, compressed=0)
_BLOCK = 16


@dataclass(frozen=True)
class ExactRows:
    """Rows of works and of queries in one space."""

    works: NDArray[np.float32]
    """(N, P) float32."""
    queries: NDArray[np.float32]
    """(Q, P) float32."""


def exact_rows(setting: LabSetting, space: GradientSpace, directory: Path) -> ExactRows:
    """Rows of all works and queries, computed or opened from a directory; a killed run resumes."""
    directory.mkdir(parents=True, exist_ok=True)
    galleries = {"works": setting.works, "queries": setting.queries}
    rows = {
        kind: _stored(setting, gallery.examples, space, gallery.fingerprint, directory, kind)
        for kind, gallery in galleries.items()
    }
    return ExactRows(rows["works"], rows["queries"])


def _stored(
    setting: LabSetting,
    examples: Examples,
    space: GradientSpace,
    fingerprint: str,
    directory: Path,
    kind: str,
) -> NDArray[np.float32]:
    layers = chosen_layers(setting.generator.unet, space.parameters)
    measure = gradient_target_by_name(space.measure)

    def compute(part: range) -> NDArray[np.float32]:
        rows = examples.rows(part)
        return per_sample_gradients(setting.generator, rows, space.draws, layers, measure=measure).numpy()

    return stored_rows(
        directory / f"{space.measure}-{kind}",
        space.origin(setting.generator.fingerprint, fingerprint),
        len(examples),
        compute,
        block=_BLOCK,
        report=print,
    )


def whitened(setting: LabSetting, rows: ExactRows, directory: Path) -> ExactRows:
    """Rows in the metric of their own Fisher information, as in `influence-noise-attn`."""
    space = replace(FEW_OWN_NOISE, compressed=0)
    assert space.whitening is not None
    fisher = fisher_of_rows(rows.works, chosen_layers(setting.generator.unet, space.parameters))
    damping = space.whitening.damping

    def stored(kind: str, plain: NDArray[np.float32], fingerprint: str) -> NDArray[np.float32]:
        def compute(part: range) -> NDArray[np.float32]:
            block = torch.from_numpy(np.array(plain[part.start : part.stop]))
            return fisher.whitened(block, damping=damping).numpy()

        origin = space.origin(setting.generator.fingerprint, fingerprint)
        return stored_rows(directory / f"whitened-{kind}", origin, len(plain), compute, block=_BLOCK)

    return ExactRows(
        stored("works", rows.works, setting.works.fingerprint),
        stored("queries", rows.queries, setting.queries.fingerprint),
    )


def residuals(setting: LabSetting, directory: Path) -> NDArray[np.float64]:
    """Root of each work's mean squared error at the draws of the rows, as in `das`: (N,)."""
    examples = setting.works.examples
    losses = stored_rows(
        directory / "residuals",
        LOSS.origin(setting.generator.fingerprint, setting.works.fingerprint),
        len(examples),
        lambda part: denoising_losses(setting.generator, examples.rows(part), LOSS.draws).numpy(),
        block=128,
    )
    return np.sqrt(np.asarray(losses, dtype=np.float64).mean(axis=1))
