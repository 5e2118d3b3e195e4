"""The natural-gradient step of AbU and AbU+ with its Fisher information kept as an artifact."""

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
    """A function (works, directory) that gives the step, fitting or reading the Fisher in the directory.

    Args:
        generator: The generator that forgets.
        parameters: The weights that move.
        steps: Number of steps.
        eigenbasis: True for EK-FAC (AbU+), False for the diagonal Fisher (AbU).
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
