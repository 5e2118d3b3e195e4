"""Nonparametric data attribution, NDA (arXiv 2510.14269): the works' weights in the optimal patch denoiser.

The denoiser that minimises the loss on the works, one patch at a time, maps a noisy patch to the mean of all
works' patches, weighted by a softmax of −‖signal · patch − noisy patch‖² / (2 noise²). The score of a work is
its patches' part of that weight, averaged over the query's patches, timesteps and noises; the scores of a
query sum to 1. No model is evaluated.

`PUBLISHED` is the paper's setting transferred to a grid of 8 × 8 latents: each patch of the query is compared
with all patches of a work, and a patch covers the same part of the picture as 7 of 32 pixels, the paper's
patch at t = 100. It differs from the paper's code in that patches lie completely inside the picture.

`PADDED` has that code's border: there is a patch around every place, padded with zeros, and a patch of which
another part is padding is at a distance of 1,000, so it has no weight. The code takes one size of patches and
one timestep per run; `PADDED_LATE` is a second choice of timesteps, and the better one on the lab's choosing
subsets counts.

In the lab (500 works; LDS of relative losses on 25 subsets that were not used for tuning, for generated and
held-out queries; 95 % intervals of ±0.06 to ±0.09) comparing patches only at the same place appears better,
but the difference is not significant: `PUBLISHED` 0.21 and 0.24, `PUBLISHED_IN_PIXELS` 0.18 and 0.21,
`SAME_PLACE` 0.24 and 0.29, `SAME_PLACE_IN_PIXELS` 0.27 and 0.28. The cosine of the latents has 0.23 and 0.25.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.attributor import Attributor, Gallery
from creditline.errors import InvalidInput, NotFound, NotReady
from creditline.generator.losses import Draws
from creditline.generator.pipeline import Noising
from creditline.pictures.preparation import pixels

Space = Literal["latents", "pixels"]
Places = Literal["same", "all"]
Border = Literal["inside", "padded"]

# Bounds the memory of a block of works: 32 MiB of float32.
_NUMBERS_PER_BLOCK = 2**23


def _refuse_unknown(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidInput(f"unknown {field} {value!r}; choose one of {', '.join(known)}", field=field)


@dataclass(frozen=True)
class Matching:
    """Parameters of the comparison of a query's patches with the works' patches.

    Raises:
        InvalidInput: A field has an unknown or too small value.
    """

    space: Space = "latents"
    """Space in which the picture is noised: the autoencoder's latents, or RGB pixels."""
    patch: int = 2
    """Side of a patch, in units of the space."""
    places: Places = "all"
    """Whether a patch is compared with the patches at the same place only, or with all patches."""
    border: Border = "inside"
    """"inside": patches lie completely inside the picture. "padded": there is a patch around every position,
    padded with zeros and compared with patches of which the same part is padding; `patch` must be odd."""
    side: int = 12
    """Side in pixels to which pictures are resized; used for pixels only."""
    timesteps: tuple[int, ...] = (100, 200, 300, 400, 500)
    """Timesteps of the noise, one or more."""
    repeats: int = 1
    """Number of noises per timestep."""
    salt: str = "nda"
    """Salt of the noise; another salt gives other noise."""

    def __post_init__(self) -> None:
        _refuse_unknown("space", self.space, get_args(Space))
        _refuse_unknown("places", self.places, get_args(Places))
        _refuse_unknown("border", self.border, get_args(Border))
        if self.border == "padded" and self.patch % 2 == 0:
            raise InvalidInput(
                f"patch {self.patch} has no centre to pad around; give an odd number", field="patch"
            )
        for field, value in (("patch", self.patch), ("side", self.side), ("repeats", self.repeats)):
            if value < 1:
                raise InvalidInput(f"{field} {value} is too small; give 1 or more", field=field)
        if not self.timesteps:
            raise InvalidInput(
                "no timesteps were given; name at least one at which to noise the query", field="timesteps"
            )

    @property
    def padding(self) -> int:
        """Width of the padding around a picture."""
        return self.patch // 2 if self.border == "padded" else 0

    @property
    def draws(self) -> Draws:
        """Draws that give the noises, timestep-major; their schedule of timesteps is not used."""
        return Draws(timesteps=len(self.timesteps), repeats=self.repeats, salt=self.salt)


PUBLISHED = Matching()
PADDED = Matching(patch=3, border="padded")
PADDED_LATE = Matching(patch=3, border="padded", timesteps=(300, 400, 500, 600, 700))
PUBLISHED_IN_PIXELS = Matching(space="pixels", patch=3)
SAME_PLACE = Matching(patch=1, places="same", timesteps=(500, 600, 700, 800, 900), repeats=4)
SAME_PLACE_IN_PIXELS = Matching(space="pixels", side=16, patch=3, places="same", repeats=4)


class NonparametricAttribution(Attributor):
    """NDA, named "nda" on latents and "nda-pixels" on pixels.

    A query needs memory for (noises, patches, works) float32 numbers, and for one block of works.

    Args:
        noising: Noise schedule of the generator; the galleries' examples must be on its device.
        matching: Parameters of the comparison of patches.
        numbers_per_block: Maximal number of float32 numbers in memory for one block of works.

    Raises:
        InvalidInput: A timestep is outside the schedule.
    """

    def __init__(
        self,
        noising: Noising,
        matching: Matching = PUBLISHED,
        *,
        numbers_per_block: int = _NUMBERS_PER_BLOCK,
    ) -> None:
        last = len(noising.signal) - 1
        if not all(0 <= timestep <= last for timestep in matching.timesteps):
            raise InvalidInput(
                f"timesteps {matching.timesteps} are outside the schedule; choose from 0 to {last}",
                field="timesteps",
            )
        self.name = "nda" if matching.space == "latents" else "nda-pixels"
        self._noising = noising
        self._matching = matching
        self._numbers_per_block = numbers_per_block
        steps = torch.tensor(matching.timesteps, device=noising.signal.device)
        self._steps = steps.repeat_interleave(matching.repeats)
        self._ids: tuple[str, ...] = ()
        self._works: Tensor | None = None
        # (P, P), true where two places of a patch have the same part of padding.
        self._comparable: Tensor | None = None

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Keep the works' pictures in memory.

        Args:
            works: The works to score.
            directory: Not used.

        Raises:
            InvalidInput: A patch is larger than the pictures, or latents are NaN or infinite.
        """
        self._ids = works.examples.ids
        self._works = self._pictures(works)
        self._comparable = self._comparable_places(self._works)
        self.bytes_per_work = float(self._works[0].numel() * self._works.element_size())

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        """Scores of every work for every query, each row summing to 1: (Q, N) float64.

        Raises:
            NotReady: `prepare` was not called.
            InvalidInput: Queries and works have pictures of different shapes, or latents are NaN or infinite.
        """
        pictures = zip(queries.examples.ids, self._pictures(queries), strict=True)
        rows = [self._weights(query, picture).mean(dim=0, dtype=torch.float64) for query, picture in pictures]
        return torch.stack(rows).cpu().numpy()

    def influence_map(self, query: Gallery, work: str) -> NDArray[np.float64]:
        """Map of a work's weight over the query's picture; a patch's weight is spread evenly over its area.

        Args:
            query: A gallery with one row.
            work: Id of the work.

        Returns:
            Weights that sum to the work's score: (H, W) float64.

        Raises:
            InvalidInput: The gallery does not have exactly one row.
            NotFound: The work was not prepared.
        """
        if len(query) != 1:
            raise InvalidInput(
                f"an influence map needs exactly one query, got {len(query)}; call it for each query",
                field="query",
            )
        if work not in self._ids:
            raise NotFound(
                f"work {work!r} is not among the {len(self._ids)} prepared works; give the id of one of them",
                field="work",
            )
        picture = self._pictures(query)[0]
        weights = self._weights(query.examples.ids[0], picture)[:, self._ids.index(work)].double()
        shape = (picture.shape[1], picture.shape[2])
        spread = _spread(weights / len(weights), shape, self._matching.patch, self._matching.padding)
        return spread.cpu().numpy()

    def _weights(self, query: str, picture: Tensor) -> Tensor:
        """Weights of the works at each of the query's patches, averaged over its noises: (P, N) float32."""
        if self._works is None:
            raise NotReady(f"{self.name} is not prepared; call prepare(works, directory) first")
        if picture.shape != self._works.shape[1:]:
            raise InvalidInput(
                f"query {query} has shape {tuple(picture.shape)}, but works have"
                f" {tuple(self._works.shape[1:])};"
                " encode both with the same autoencoder"
            )
        rows = self._logit_coefficients(query, picture)
        logits = [self._logits(rows, works) for works in self._works.split(self._works_per_block(rows))]
        return torch.cat(logits, dim=2).softmax(dim=2).mean(dim=0)

    def _logit_coefficients(self, query: str, picture: Tensor) -> Tensor:
        """Rows whose inner product with a work's (patch, ‖patch‖²) is its logit: (noises, P, K + 1) float32.

        ‖noisy patch‖² / (2 noise²) is left out because it is the same for all works.
        """
        noise = self._matching.draws.noise(query, tuple(picture.shape)).to(picture.device)
        noisy = self._patches(self._noising.noisy(picture.expand_as(noise), noise, self._steps))
        signal = self._noising.signal[self._steps][:, None, None]
        variance = self._noising.noise[self._steps].square()[:, None, None]
        square = (-signal.square() / (2.0 * variance)).expand(*noisy.shape[:2], 1)
        return torch.cat([noisy * signal / variance, square], dim=2)

    def _logits(self, rows: Tensor, works: Tensor) -> Tensor:
        """Logits of the works' weights: (noises, P, K + 1), (B, C, H, W) -> (noises, P, B)."""
        patches = self._patches(works)
        patches = torch.cat([patches, patches.square().sum(dim=2, keepdim=True)], dim=2)
        if self._matching.places == "same":
            return (rows.transpose(0, 1) @ patches.permute(1, 2, 0)).transpose(0, 1)
        logits = rows.flatten(0, 1) @ patches.flatten(0, 1).T
        logits = logits.view(*rows.shape[:2], *patches.shape[:2])
        if self._comparable is not None:
            logits = logits.masked_fill(~self._comparable[:, None], -torch.inf)
        return logits.logsumexp(dim=3)

    def _patches(self, pictures: Tensor) -> Tensor:
        """All patches in row-major order, padded with zeros: (B, C, H, W) -> (B, P, C · patch²)."""
        return F.unfold(pictures, self._matching.patch, padding=self._matching.padding).transpose(1, 2)

    def _comparable_places(self, works: Tensor) -> Tensor | None:
        if not self._matching.padding:
            return None
        inside = self._patches(torch.ones_like(works[:1, :1]))[0]
        return (inside[:, None] == inside[None]).all(dim=2)

    def _works_per_block(self, rows: Tensor) -> int:
        noises, patches, columns = rows.shape
        compared = patches if self._matching.places == "all" else 1
        return max(1, self._numbers_per_block // (patches * (columns + noises * compared)))

    def _pictures(self, gallery: Gallery) -> Tensor:
        """Pictures in the space of the matching: (B, C, H, W) float32."""
        pictures = gallery.examples.latents.float()
        if self._matching.space == "pixels":
            pictures = _scaled_pixels(gallery, self._matching.side).to(pictures.device)
        not_finite = (~pictures.isfinite().flatten(1).all(dim=1)).nonzero()
        if len(not_finite):
            raise InvalidInput(
                f"the {self._matching.space} of {gallery.examples.ids[int(not_finite[0])]!r} are NaN or"
                " infinite; check that picture, and the autoencoder's weights for NaN"
            )
        height, width = pictures.shape[2:]
        if self._matching.patch > min(height, width):
            raise InvalidInput(
                f"patch {self._matching.patch} is larger than the {height} × {width} {self._matching.space};"
                " choose a smaller one",
                field="patch",
            )
        return pictures


def _scaled_pixels(gallery: Gallery, side: int) -> Tensor:
    """RGB pixels in [-1, 1]: (B, 3, side, side) float32."""
    rgb = np.array([pixels(picture, side=side) for picture in gallery.pictures])
    return torch.from_numpy(rgb).permute(0, 3, 1, 2) * 2.0 - 1.0


def _spread(weights: Tensor, shape: tuple[int, int], size: int, padding: int) -> Tensor:
    """Weights of the patches, each spread evenly over the places that it covers: (P,) -> (H, W)."""
    covered = F.unfold(weights.new_ones(1, 1, *shape), size, padding=padding)
    per_position = covered * weights / covered.sum(dim=1, keepdim=True)
    return F.fold(per_position, shape, size, padding=padding)[0, 0]
