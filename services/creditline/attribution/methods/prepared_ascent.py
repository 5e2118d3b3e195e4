"""The natural-gradient step of AbU and AbU+, with its Fisher information stored as an artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from creditline.attribution.attributor import Gallery
from creditline.attribution.fisher.ekfac import fit_ekfac
from creditline.attribution.fisher.ekfac_store import stored_fisher
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.methods.gradient_rows import GradientSpace
from creditline.attribution.methods.hyperparameters import FISHER_DRAWS
from creditline.attribution.unlearning.forgetting import NaturalAscent
from creditline.generator.pipeline import Generator


def natural_ascent(
    generator: Generator,
    parameters: ParameterChoice = "cross-attn",
    *,
    steps: int = 1,
    eigenbasis: bool = True,
) -> Callable[[Gallery, Path], NaturalAscent]:
    """Create a factory of the natural-gradient step.

    Args:
        generator: The generator that unlearns queries.
        parameters: The weights that the step changes.
        steps: Number of steps.
        eigenbasis: True for EK-FAC (AbU+), False for the diagonal Fisher (AbU).

    Returns:
        A function (works, directory) -> step, which reads the Fisher from the directory or fits it first.
    """

    def forgetting(works: Gallery, directory: Path) -> NaturalAscent:
        layers = chosen_layers(generator.unet, parameters)
        fisher = stored_fisher(
            directory / "fisher.safetensors",
            GradientSpace(parameters, draws=FISHER_DRAWS).origin(generator.fingerprint, works.fingerprint),
            lambda: fit_ekfac(generator, works.examples, FISHER_DRAWS, layers, eigenbasis=eigenbasis),
        )
        return NaturalAscent(fisher.to(generator.device), parameters, steps=steps)

    return forgetting
