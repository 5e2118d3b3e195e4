"""Attribution by unlearning as an attributor: any way to forget, any score of what else was forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.attributor import Attributor, Gallery
from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.unlearning.forgetting import Forgetting
from creditline.attribution.unlearning.scores import UNLEARNING_SCORES, unlearning_score_named
from creditline.errors import NotReady
from creditline.generator.losses import LOSS, Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator

# AbU's twenty strided timesteps, one noise each.
WORK_DRAWS = Draws(timesteps=20, repeats=1, salt="unlearning")
_WORKS_PER_BLOCK = 128


class Unlearning(Attributor):
    """Makes the model forget each query and measures what that does to every work.

    forgetting: makes the way to forget from the works and the method's directory (a Fisher is an artifact);
    score: one of `UNLEARNING_SCORES`, the one that `scores` gives.
    """

    def __init__(
        self,
        name: str,
        generator: Generator,
        forgetting: Callable[[Gallery, Path], Forgetting],
        *,
        score: str = "difference",
        draws: Draws = WORK_DRAWS,
    ) -> None:
        self.name = name
        self.bytes_per_work = 4.0 * len(draws)
        self._generator = generator
        self._make_forgetting = forgetting
        unlearning_score_named(score)
        self._score = score
        self._draws = draws
        self._works: Gallery | None = None
        self._forgetting: Forgetting | None = None
        self._before = torch.empty(0)

    def prepare(self, works: Gallery, directory: Path) -> None:
        """The works' losses under θ₀, which are the same for every query, and the way to forget."""
        origin = {
            "generator": self._generator.fingerprint,
            "corpus": works.fingerprint,
            "loss": LOSS,
            "draws": repr(self._draws),
        }
        losses = stored_rows(
            directory / "losses-before",
            origin,
            len(works),
            lambda part: (
                denoising_losses(self._generator, works.examples.rows(part), self._draws).cpu().numpy()
            ),
            block=_WORKS_PER_BLOCK,
        )
        self._before = torch.from_numpy(np.array(losses)).to(self._generator.device)
        self._works = works
        self._forgetting = self._make_forgetting(works, directory)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return self.every_score(queries)[self.name]

    def scores_among(self, queries: Gallery, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        if self._score == "relative":
            # In units of the loss of all works, so that all are looked at.
            return super().scores_among(queries, wanted)
        score, passes = UNLEARNING_SCORES[self._score], 0.0
        found = np.zeros(wanted.shape)
        for number, row in enumerate(wanted):
            works = np.flatnonzero(row)
            if not len(works):
                continue
            after, spent = self._losses_after(queries.examples.rows([number]), works.tolist())
            passes += spent
            before = self._before[torch.from_numpy(works).to(self._before.device)]
            found[number, works] = score(before, after, self._draws)
        self.passes_per_query = passes / len(queries)
        return found

    def every_score(self, queries: Gallery) -> dict[str, NDArray[np.float64]]:
        """All of `UNLEARNING_SCORES` of the same forgetting; the others have their name added."""
        rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in UNLEARNING_SCORES}
        passes = 0.0
        for number in range(len(queries)):
            after, spent = self._losses_after(queries.examples.rows([number]))
            passes += spent
            for name, score in UNLEARNING_SCORES.items():
                rows[name].append(score(self._before, after, self._draws))
        self.passes_per_query = passes / len(queries)
        return {
            self.name if name == self._score else f"{self.name}-{name}": np.stack(values)
            for name, values in rows.items()
        }

    def _losses_after(self, query: Examples, rows: Sequence[int] | None = None) -> tuple[Tensor, float]:
        """Losses of some works, or of all, once the query is forgotten, (N, draws); the passes it took."""
        if self._works is None or self._forgetting is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        with self._forgetting.forget(self._generator, query) as forgotten:
            works = self._works.examples if rows is None else self._works.examples.rows(rows)
            after = denoising_losses(self._generator, works, self._draws)
        return after, forgotten.passes + len(works) * len(self._draws)
