"""kronfluence's view of a generator: its UNet's denoising loss, one noisy latent a sample."""

from __future__ import annotations

import copy
from pathlib import Path

from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from torch import Tensor, nn
from torch.utils.data import Dataset

from creditline.attribution.gradients.parameters import chosen_layers
from creditline.generator.losses import Draws, Examples, noisy_batch
from creditline.generator.pipeline import Generator

Sample = tuple[Tensor, ...]
FACTORS = FactorArguments(strategy="ekfac", use_empirical_fisher=True)
# Its default damping is a tenth of each layer's mean eigenvalue, as ours.
SCORES = ScoreArguments(damping_factor=None, compute_per_module_scores=True)


def whole_layers(generator: Generator) -> dict[str, nn.Module]:
    """The layers that kronfluence knows: Linear and Conv2d."""
    layers = chosen_layers(generator.unet, "all")
    return {name: module for name, module in layers.items() if isinstance(module, nn.Linear | nn.Conv2d)}


class NoisyLatents(Dataset[Sample]):
    """One sample for each example and draw."""

    def __init__(self, generator: Generator, examples: Examples, draws: Draws) -> None:
        batch = noisy_batch(generator, examples, draws)
        self._columns = (batch.inputs, batch.timesteps, batch.text, batch.targets, batch.noise_error)

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, row: int) -> Sample:
        return tuple(column[row] for column in self._columns)


class DenoisingTask(Task):
    """The noise loss, summed over the batch."""

    def compute_train_loss(self, batch: Sample, model: nn.Module, sample: bool = False) -> Tensor:
        if sample:
            raise NotImplementedError("the empirical Fisher needs no sampled labels")
        noisy, timesteps, text, targets, noise_error = batch
        predicted = model(noisy, timesteps, text).sample
        return (noise_error * (predicted - targets).square().mean(dim=(1, 2, 3))).sum()

    def compute_measurement(self, batch: Sample, model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)


def analyzer_of(generator: Generator, directory: Path) -> Analyzer:
    """On a copy of the UNet, for it wraps the layers for good."""
    task = DenoisingTask()
    model = prepare_model(copy.deepcopy(generator.unet), task)
    return Analyzer("rival", model, task, cpu=True, disable_tqdm=True, output_dir=str(directory))


def fit_factors(analyzer: Analyzer, works: Dataset[Sample], batch: int) -> None:
    """EK-FAC of all wrapped layers, written to the analyzer's directory as it does."""
    analyzer.fit_all_factors(
        "ekfac",
        works,
        per_device_batch_size=batch,
        factor_args=FACTORS,
        overwrite_output_dir=True,
    )
