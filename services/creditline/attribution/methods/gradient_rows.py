"""The works' gradients, kept between queries, in the space that a method compares them in.

A row is a gradient of one work: of the loss or of an output function, averaged over draws; as it is, or in
the Fisher's eigenbasis so that inner products are g · F⁻¹ · g′, or randomly projected to fewer numbers.
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
from creditline.attribution.gradients.targets import gradient_target_named
from creditline.device_setting import CPU
from creditline.errors import NotReady
from creditline.generator.losses import LOSS, Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator

# Rows are multiplied by this many numbers at a time (bounds memory).
_COLUMNS = 1 << 17
_WORKS_PER_BLOCK = 16
_DRAWS = Draws(timesteps=20, repeats=2, salt="attribution", mirrored=True)
_QUERIES_PER_BLOCK = 64
_COMPRESSION_SEED = 0

# "noise": every draw counts alike; "relative": in units of the works' mean loss at its timestep.
Weighting = Literal["noise", "relative"]


@dataclass(frozen=True)
class Whitening:
    """Compare gradients in the Fisher's metric: EK-FAC with this damping, relative to each layer's mean.

    fitted: "passes", by two more walks over the works (`fit_ekfac`, with `sample`), or "rows", from the
    gradients themselves (`fisher_of_rows`).
    """

    damping: float = DAMPING
    fitted: Literal["passes", "rows"] = "passes"
    sample: SampleKind = "example"


@dataclass(frozen=True)
class GradientSpace:
    """What a row is. draws: of works and queries alike; the noise belongs to each picture.

    compressed: to how many numbers rows are summed at random, 0 for none; products stay the same on
    average.
    """

    parameters: ParameterChoice = "all"
    measure: str = "loss"
    draws: Draws = _DRAWS
    weighting: Weighting = "noise"
    whitening: Whitening | None = None
    compressed: int = 0

    def origin(self, generator: str, works: str) -> dict[str, str]:
        """What an artifact in this space is made from."""
        space = asdict(self)
        if not self.compressed:
            del space["compressed"]
        return {"generator": generator, "corpus": works, "loss": LOSS, "space": json.dumps(space)}


class GradientRows:
    """The rows of a corpus, and those of queries on demand.

    plain: rows of the same space, neither whitened nor compressed, where several methods share them; a space
    that is fitted on rows makes its own otherwise. works_per_block: works computed between two checkpoints.
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
            width = parameter_count(self._layers)
            self._compression = PermutedSignSum(width, min(width, space.compressed), _COMPRESSION_SEED)
        self._measure = gradient_target_named(space.measure)
        self._rows: NDArray[np.float32] | None = None
        self._origin: dict[str, str] = {}
        self._weights: Tensor | None = None
        self._fisher: EkfacFisher | None = None
        # Methods that share rows are asked of the same queries one after the other.
        self._answered: tuple[Examples, NDArray[np.float64]] | None = None
        self._gram: NDArray[np.float64] | None = None

    @property
    def rows(self) -> NDArray[np.float32]:
        """The works': (N, P) float32, a memory map. Raises NotReady before `prepare`."""
        if self._rows is None:
            raise NotReady("gradients are not prepared; call prepare with the works first", field="artifacts")
        return self._rows

    @property
    def bytes_per_work(self) -> float:
        return float(self.rows.nbytes / len(self.rows))

    def prepare(
        self, works: Gallery, directory: Path, *, report: Callable[[str], None] = lambda line: None
    ) -> None:
        """Compute the works' rows, resuming at any block, or open those that lie in `directory`."""
        origin = self.space.origin(self._generator.fingerprint, works.fingerprint)
        if self._rows is not None and self._origin == origin:
            return
        self._rows, self._origin = None, origin
        self._weights, self._fisher, self._answered, self._gram = None, None, None, None
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
        """What each draw counts, (draws,); None where all count alike."""
        return self._weights

    def of_queries(self, queries: Examples) -> Tensor:
        """Rows of pictures that are no works: (Q, P) float32, on the generator's device.

        Raises NotReady before `prepare`.
        """
        _ = self.rows  # Weights and Fisher are the works'.
        return self._row_block(queries)

    def with_gradients(self, gradients: Tensor) -> NDArray[np.float64]:
        """Gradients of anything, (Q, P) float32, with each work's row: (Q, N)."""
        works = self.rows
        return self._products(self._in_space(gradients).cpu().numpy(), works)

    def inner_products(self, queries: Examples) -> NDArray[np.float64]:
        """Each query's row with each work's: (Q, N)."""
        if self._answered is not None and self._answered[0] is queries:
            return self._answered[1].copy()
        works = self.rows
        blocks = [
            queries.rows(range(start, min(start + _QUERIES_PER_BLOCK, len(queries))))
            for start in range(0, len(queries), _QUERIES_PER_BLOCK)
        ]
        found = np.concatenate(
            [self._products(self._row_block(block).cpu().numpy(), works) for block in blocks]
        )
        self._answered = (queries, found)
        return found.copy()

    def gram(self) -> NDArray[np.float64]:
        """Each work's row with each work's: (N, N), computed when first asked for."""
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
    """Inner products of rows, summed up in float64 over blocks of columns: (A, P), (B, P) -> (A, B).

    device: where the blocks are multiplied, in float32. block: number of columns multiplied at a time.
    """
    total = np.zeros((len(first), len(second)))
    for start in range(0, first.shape[1], block):
        columns = slice(start, start + block)
        left, right = (torch.from_numpy(np.array(rows[:, columns])).to(device) for rows in (first, second))
        total += (left @ right.T).double().cpu().numpy()
    return total
