"""Stored gradients of the works, in the space in which a method compares them.

A row is the gradient of the loss or of an output function for one work, averaged over draws. It is stored as
computed, in the Fisher's eigenbasis so that inner products are g · F⁻¹ · g′, or randomly projected to a lower
dimension.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.attributor import Gallery
from creditline.attribution.fisher.ekfac import EkfacFisher, SampleKind, fisher_of_rows, fit_ekfac
from creditline.attribution.fisher.ekfac_store import stored_fisher
from creditline.attribution.fisher.key_value import DAMPING
from creditline.attribution.gradients.draw_weights import relative_draw_weights
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.attribution.gradients.projection import PermutedSignSum
from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.device_setting import CPU
from creditline.errors import NotReady
from creditline.generator.losses import LOSS, Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator

# Number of columns of the rows that are multiplied at a time (bounds memory).
_COLUMNS = 1 << 17
_WORKS_PER_BLOCK = 16
_DRAWS = Draws(timesteps=20, repeats=2, salt="attribution", mirrored=True)
_QUERIES_PER_BLOCK = 64
_COMPRESSION_SEED = 0

# Weights of the draws. "noise": all equal; "relative": in units of the works' mean loss at the timestep.
Weighting = Literal["noise", "relative"]


@dataclass(frozen=True)
class Whitening:
    """Whitening of gradients by EK-FAC, so that inner products are in the Fisher's metric."""

    damping: float = DAMPING
    """Damping relative to each layer's mean eigenvalue."""
    fitted: Literal["passes", "rows"] = "passes"
    """Source of the fit: "passes", two more passes over the works (`fit_ekfac`); "rows", the stored gradients
    (`fisher_of_rows`)."""
    sample: SampleKind = "example"
    """What one sample of the Fisher is, for "passes"."""


@dataclass(frozen=True)
class GradientSpace:
    """Definition of gradient rows. The fields and their order identify stored artifacts (repr and JSON)."""

    parameters: ParameterChoice = "all"
    """Parameters that the gradient is taken with respect to."""
    measure: str = "loss"
    """Name of the differentiated function, one of `GRADIENT_TARGETS`."""
    draws: Draws = _DRAWS
    """Timesteps and noises, the same for works and queries; the noise depends on the picture's id."""
    weighting: Weighting = "noise"
    """Weights of the draws in the mean."""
    whitening: Whitening | None = None
    """Whitening of the rows; None: none."""
    compressed: int = 0
    """Dimension after a random projection, which preserves inner products in expectation; 0: none."""

    def origin(self, generator: str, works: str) -> dict[str, str]:
        """Origin of an artifact in this space.

        Args:
            generator: Fingerprint of the generator.
            works: Fingerprint of the works.
        """
        space = asdict(self)
        if not self.compressed:
            del space["compressed"]
        return {"generator": generator, "corpus": works, "loss": LOSS, "space": json.dumps(space)}


class GradientRows:
    """Gradient rows of a gallery of works, stored on disk, and of queries, computed on demand.

    Args:
        generator: The generator.
        space: Definition of the rows.
        plain: Rows of the same space without whitening and compression, when several methods share them;
            None: a space whose whitening is fitted to rows computes its own.
        works_per_block: Number of works computed between two checkpoints.
    """

    def __init__(
        self,
        generator: Generator,
        space: GradientSpace = GradientSpace(),
        plain: GradientRows | None = None,
        *,
        works_per_block: int = _WORKS_PER_BLOCK,
    ) -> None:
        self.space = space
        self._works_per_block = works_per_block
        self._plain = plain
        if plain is None and space.whitening is not None and space.whitening.fitted == "rows":
            plain_space = replace(space, whitening=None, compressed=0)
            self._plain = GradientRows(generator, plain_space, works_per_block=works_per_block)
        self._generator = generator
        self._layers = chosen_layers(generator.unet, space.parameters)
        self._compression: PermutedSignSum | None = None
        if space.compressed:
            dimension = parameter_count(self._layers)
            self._compression = PermutedSignSum(
                dimension, min(dimension, space.compressed), _COMPRESSION_SEED
            )
        self._measure = gradient_target_by_name(space.measure)
        self._rows: NDArray[np.float32] | None = None
        self._origin: dict[str, str] = {}
        self._weights: Tensor | None = None
        self._fisher: EkfacFisher | None = None
        # Methods that share rows score the same queries one after the other.
        self._cached_products: tuple[Examples, NDArray[np.float64]] | None = None
        self._gram: NDArray[np.float64] | None = None

    @property
    def rows(self) -> NDArray[np.float32]:
        """Rows of the works, a memory map: (N, P) float32. Raises NotReady before `prepare`."""
        if self._rows is None:
            raise NotReady(
                "the gradient rows are not prepared; call prepare with the works first", field="artifacts"
            )
        return self._rows

    @property
    def bytes_per_work(self) -> float:
        """Bytes of one work's row."""
        return float(self.rows.nbytes / len(self.rows))

    def prepare(
        self, works: Gallery, directory: Path, *, report: Callable[[str], None] = lambda line: None
    ) -> None:
        """Compute the works' rows, or open them from disk. An interrupted run resumes after its last block.

        Args:
            works: The works.
            directory: Directory of the rows and of what they are computed from.
            report: Receives one line about progress at a time.

        Raises:
            FingerprintMismatch: The directory holds artifacts of another generator, space or corpus.
            InvalidInput: A stored file is truncated.
        """
        origin = self.space.origin(self._generator.fingerprint, works.fingerprint)
        if self._rows is not None and self._origin == origin:
            return
        self._rows, self._origin = None, origin
        self._weights, self._fisher, self._cached_products, self._gram = None, None, None, None
        if self._plain is not None:
            self._plain.prepare(works, directory / "plain", report=report)
            self._weights = self._plain.draw_weights
        elif self.space.weighting == "relative":
            self._weights = self._relative_weights(works.examples, directory, origin)
        if self.space.whitening is not None:
            whitening = self.space.whitening
            self._fisher = stored_fisher(
                directory / "fisher.safetensors",
                origin,
                lambda: self._fit_fisher(works.examples, whitening),
            ).to(self._generator.device)
        self._rows = stored_rows(
            directory / "rows",
            origin,
            len(works),
            lambda part: self._work_block(works.examples, part).cpu().numpy(),
            block=self._works_per_block,
            report=report,
        )

    @property
    def draw_weights(self) -> Tensor | None:
        """Weight of each draw, (draws,) float32; None when all are equal."""
        return self._weights

    def of_queries(self, queries: Examples) -> Tensor:
        """Rows of queries, on the generator's device: (Q, P) float32. Raises NotReady before `prepare`."""
        _ = self.rows  # The draw weights and the Fisher are computed from the works.
        return self._row_block(queries)

    def with_gradients(self, gradients: Tensor) -> NDArray[np.float64]:
        """Inner products of given gradients with the works' rows.

        Args:
            gradients: (Q, P) float32 gradients, neither whitened nor compressed.

        Returns:
            Inner products: (Q, N) float64.
        """
        works = self.rows
        return self._products(self._in_space(gradients).cpu().numpy(), works)

    def inner_products(self, queries: Examples) -> NDArray[np.float64]:
        """Inner products of the queries' rows with the works' rows: (Q, N) float64."""
        if self._cached_products is not None and self._cached_products[0] is queries:
            return self._cached_products[1].copy()
        works = self.rows
        blocks = [
            queries.rows(range(start, min(start + _QUERIES_PER_BLOCK, len(queries))))
            for start in range(0, len(queries), _QUERIES_PER_BLOCK)
        ]
        values = np.concatenate(
            [self._products(self._row_block(block).cpu().numpy(), works) for block in blocks]
        )
        self._cached_products = (queries, values)
        return values.copy()

    def gram(self) -> NDArray[np.float64]:
        """Inner products of the works' rows with each other, computed at the first call: (N, N) float64."""
        if self._gram is None:
            self._gram = self._products(self.rows, self.rows)
        return self._gram.copy()

    def _products(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
        """Inner products of rows, on the generator's device: (A, P), (B, P) -> (A, B)."""
        return products(first, second, self._generator.device)

    def _work_block(self, works: Examples, part: range) -> Tensor:
        if self._plain is None:
            return self._row_block(works.rows(part))
        plain = torch.from_numpy(np.array(self._plain.rows[part.start : part.stop]))
        return self._in_space(plain.to(self._generator.device))

    def _row_block(self, examples: Examples) -> Tensor:
        gradients = per_sample_gradients(
            self._generator,
            examples,
            self.space.draws,
            self._layers,
            measure=self._measure,
            draw_weights=self._weights,
        )
        return self._in_space(gradients)

    def _in_space(self, gradients: Tensor) -> Tensor:
        if self._fisher is not None and self.space.whitening is not None:
            gradients = self._fisher.whitened(gradients, damping=self.space.whitening.damping)
        return gradients if self._compression is None else self._compression.project(gradients)

    def _relative_weights(self, works: Examples, directory: Path, origin: dict[str, str]) -> Tensor:
        losses = stored_rows(
            directory / "losses",
            origin,
            len(works),
            lambda part: denoising_losses(self._generator, works.rows(part), self.space.draws).cpu().numpy(),
            block=self._works_per_block * 8,
        )
        return relative_draw_weights(losses, self.space.draws)

    def _fit_fisher(self, works: Examples, whitening: Whitening) -> EkfacFisher:
        if self._plain is not None and whitening.fitted == "rows":
            return fisher_of_rows(self._plain.rows, self._layers)
        return fit_ekfac(
            self._generator,
            works,
            self.space.draws,
            self._layers,
            measure=self._measure,
            sample=whitening.sample,
            draw_weights=self._weights,
        )


def products(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    device: torch.device | str = CPU,
    *,
    block: int = _COLUMNS,
) -> NDArray[np.float64]:
    """Inner products of rows, accumulated in float64 over blocks of columns.

    Args:
        first: (A, P) float32.
        second: (B, P) float32.
        device: Device on which the blocks are multiplied, in float32.
        block: Number of columns multiplied at a time.

    Returns:
        Inner products: (A, B) float64.
    """
    total = np.zeros((len(first), len(second)))
    for start in range(0, first.shape[1], block):
        columns = slice(start, start + block)
        left, right = (torch.from_numpy(np.array(rows[:, columns])).to(device) for rows in (first, second))
        total += (left @ right.T).double().cpu().numpy()
    return total
