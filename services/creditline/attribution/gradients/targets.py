"""Functions whose gradient is taken: the denoising loss, or one of the UNet's output alone (D-TRAK)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from creditline.errors import InvalidInput
from creditline.generator.losses import NoisyBatch

# (batch, output of the UNet (B, C, H, W)) -> one value per pass, (B,).
GradientTarget = Callable[[NoisyBatch, Tensor], Tensor]


def noise_loss(batch: NoisyBatch, predicted: Tensor) -> Tensor:
    """Mean squared error of the predicted noise, the loss in which influence is measured: (B,)."""
    return batch.noise_losses(predicted)


# The output functions of D-TRAK (arXiv 2311.00500, section 4.1) do not depend on the target.
GRADIENT_TARGETS: dict[str, GradientTarget] = {
    "loss": noise_loss,
    "squared-l2": lambda batch, predicted: predicted.square().mean(dim=(1, 2, 3)),
    "l2": lambda batch, predicted: predicted.flatten(1).norm(dim=1),
    "l1": lambda batch, predicted: predicted.abs().mean(dim=(1, 2, 3)),
    "linf": lambda batch, predicted: predicted.flatten(1).abs().amax(dim=1),
    "mean": lambda batch, predicted: predicted.mean(dim=(1, 2, 3)),
}


def gradient_target_by_name(name: str) -> GradientTarget:
    """The gradient target of that name.

    Raises:
        InvalidInput: `GRADIENT_TARGETS` has no such name.
    """
    if name not in GRADIENT_TARGETS:
        raise InvalidInput(
            f"unknown measure {name!r}; choose one of {', '.join(GRADIENT_TARGETS)}", field="measure"
        )
    return GRADIENT_TARGETS[name]
