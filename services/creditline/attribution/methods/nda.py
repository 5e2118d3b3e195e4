"""Nonparametric data attribution, NDA (arXiv 2510.14269): which works would the optimal denoiser look at?

The denoiser that minimises the loss on the works, seeing a patch at a time, answers a noisy patch with the
mean of all works' patches, weighted by a softmax of −‖signal · patch − noisy patch‖² / (2 noise²). The score
of a work is its patches' part of that weight, averaged over the query's patches, timesteps and noises; all
scores of a query sum to 1. No model is asked.

`PUBLISHED` is the paper's setting carried over to a grid of 8 × 8 latents: any of a work's patches may answer
any of the query's, and a patch is as large a part of the picture as 7 of 32 pixels, the paper's at t = 100.
It differs from the paper's code in that patches keep their size at all timesteps and lie wholly in the
picture, where that code pads and penalises the border, and in that all patches of a work count, not the best.

In the lab (500 works; LDS of relative losses on 25 subsets that no choice was made on, generated and held-out
queries; 95 % intervals of ±0.06 to ±0.09) patches that answer only at their own place seem to do better, but
not beyond doubt: `PUBLISHED` 0.21 and 0.24, `PUBLISHED_IN_PIXELS` 0.18 and 0.21, `SAME_PLACE` 0.24 and 0.29,
`SAME_PLACE_IN_PIXELS` 0.27 and 0.28. The plain cosine of the latents has 0.23 and 0.25.
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

# Bounds what a block of works needs at once: 32 MiB of float32.
_NUMBERS_PER_BLOCK = 2**23


def _refuse_unknown(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidInput(f"{field} {value!r} is none of {', '.join(known)}; choose one", field=field)


@dataclass(frozen=True)
class Matching:
    """How a query's patches are compared with the works'.

    space: of the picture that is noised; side: to which pixels are resized (pixels only); patch: its width in
    that space; places: whether a patch is compared with those at its own place, or with all; repeats: noises
    at each timestep; salt: changes the noise. Raises InvalidInput for what is none of these.
    """

    space: Space = "latents"
    patch: int = 2
    places: Places = "all"
    side: int = 12
    timesteps: tuple[int, ...] = (100, 200, 300, 400, 500)
    repeats: int = 1
    salt: str = "nda"

    def __post_init__(self) -> None:
        _refuse_unknown("space", self.space, get_args(Space))
        _refuse_unknown("places", self.places, get_args(Places))
        for field, value in (("patch", self.patch), ("side", self.side), ("repeats", self.repeats)):
            if value < 1:
                raise InvalidInput(f"{field} {value} is too small; give 1 or more", field=field)
        if not self.timesteps:
            raise InvalidInput(
                "no timesteps given; name at least one to noise the query at", field="timesteps"
            )

    @property
    def draws(self) -> Draws:
        """The noises, timestep-major; their own schedule is not used."""
        return Draws(timesteps=len(self.timesteps), repeats=self.repeats, salt=self.salt)


PUBLISHED = Matching()
PUBLISHED_IN_PIXELS = Matching(space="pixels", patch=3)
SAME_PLACE = Matching(patch=1, places="same", timesteps=(500, 600, 700, 800, 900), repeats=4)
SAME_PLACE_IN_PIXELS = Matching(space="pixels", side=16, patch=3, places="same", repeats=4)


class NonparametricAttribution(Attributor):
    """NDA. Its name is "nda" on latents and "nda-pixels" on pixels.

    noising: of the generator, on whose device it runs and the galleries' examples are. A query needs (noises,
    patches, works) float32 of memory besides one block of works. numbers_per_block: float32 numbers that a
    block of works may need at once.
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
                f"timesteps {matching.timesteps} leave the schedule; choose from 0 to {last}",
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

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Keeps the works' pictures in memory. Raises InvalidInput when a patch does not fit in them."""
        self._ids = works.examples.ids
        self._works = self._pictures(works)
        self.bytes_per_work = float(self._works[0].numel() * self._works.element_size())

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        """(Q, N), each row summing to 1. Raises NotReady before `prepare`."""
        pictures = zip(queries.examples.ids, self._pictures(queries), strict=True)
        rows = [self._weights(query, picture).mean(dim=0, dtype=torch.float64) for query, picture in pictures]
        return torch.stack(rows).cpu().numpy()

    def influence_map(self, query: Gallery, work: str) -> NDArray[np.float64]:
        """Where in the query's picture a work's weight sits: (H, W), summing to its score.

        query: of one row; work: its id. A patch's weight is spread evenly over what it covers. Raises
        InvalidInput for several queries, NotFound for a work that was not prepared.
        """
        if len(query) != 1:
            raise InvalidInput(f"a map is of one query; got {len(query)}, call it for each", field="query")
        if work not in self._ids:
            raise NotFound(f"work {work!r} is none of the {len(self._ids)} that were prepared", field="work")
        picture = self._pictures(query)[0]
        weights = self._weights(query.examples.ids[0], picture)[:, self._ids.index(work)].double()
        spread = _spread(weights / len(weights), (picture.shape[1], picture.shape[2]), self._matching.patch)
        return spread.cpu().numpy()

    def _weights(self, query: str, picture: Tensor) -> Tensor:
        """The works' weights at each of the query's patches, averaged over its noises: (P, N) float32."""
        if self._works is None:
            raise NotReady(f"{self.name} has seen no works yet; call prepare(works, directory) first")
        if picture.shape != self._works.shape[1:]:
            raise InvalidInput(
                f"query {query} has shape {tuple(picture.shape)}, the works {tuple(self._works.shape[1:])};"
                " encode both with the same autoencoder"
            )
        rows = self._rows(query, picture)
        evidence = [self._evidence(rows, works) for works in self._works.split(self._works_per_block(rows))]
        return torch.cat(evidence, dim=2).softmax(dim=2).mean(dim=0)

    def _rows(self, query: str, picture: Tensor) -> Tensor:
        """What times a work's (patch, ‖patch‖²) is the log of its weight: (noises, P, K + 1) float32.

        ‖noisy patch‖² / (2 noise²) is left out: it is the same for all works.
        """
        noise = self._matching.draws.noise(query, tuple(picture.shape)).to(picture.device)
        noisy = _patches(
            self._noising.noisy(picture.expand_as(noise), noise, self._steps), self._matching.patch
        )
        signal = self._noising.signal[self._steps][:, None, None]
        variance = self._noising.noise[self._steps].square()[:, None, None]
        square = (-signal.square() / (2.0 * variance)).expand(*noisy.shape[:2], 1)
        return torch.cat([noisy * signal / variance, square], dim=2)

    def _evidence(self, rows: Tensor, works: Tensor) -> Tensor:
        """Log of the works' weights before they are normalised: (noises, P, K + 1) -> (noises, P, B)."""
        patches = _patches(works, self._matching.patch)
        patches = torch.cat([patches, patches.square().sum(dim=2, keepdim=True)], dim=2)
        if self._matching.places == "same":
            return (rows.transpose(0, 1) @ patches.permute(1, 2, 0)).transpose(0, 1)
        logits = rows.flatten(0, 1) @ patches.flatten(0, 1).T
        return logits.view(*rows.shape[:2], *patches.shape[:2]).logsumexp(dim=3)

    def _works_per_block(self, rows: Tensor) -> int:
        noises, patches, width = rows.shape
        answers = patches if self._matching.places == "all" else 1
        return max(1, self._numbers_per_block // (patches * (width + noises * answers)))

    def _pictures(self, gallery: Gallery) -> Tensor:
        """In the space of the matching: (B, C, H, W) float32."""
        pictures = gallery.examples.latents.float()
        if self._matching.space == "pixels":
            pictures = _scaled_pixels(gallery, self._matching.side).to(pictures.device)
        height, width = pictures.shape[2:]
        if self._matching.patch > min(height, width):
            raise InvalidInput(
                f"patch {self._matching.patch} is wider than the {height} × {width} {self._matching.space};"
                " choose a smaller one",
                field="patch",
            )
        return pictures


def _scaled_pixels(gallery: Gallery, side: int) -> Tensor:
    """RGB in [-1, 1]: (B, 3, side, side) float32."""
    rgb = np.array([pixels(picture, side=side) for picture in gallery.pictures])
    return torch.from_numpy(rgb).permute(0, 3, 1, 2) * 2.0 - 1.0


def _patches(pictures: Tensor, size: int) -> Tensor:
    """All that lie wholly in the picture, row by row: (B, C, H, W) -> (B, P, C · size²)."""
    return F.unfold(pictures, size).transpose(1, 2)


def _spread(weights: Tensor, shape: tuple[int, int], size: int) -> Tensor:
    """Each patch's weight, evenly over the places that it covers: (P,) -> (H, W)."""
    per_place = (weights / size**2).expand(1, size**2, -1)
    return F.fold(per_place, shape, size)[0, 0]
