"""Attribution by unlearning as an attributor, with any unlearning procedure and any unlearning score."""

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
from creditline.attribution.unlearning.scores import UNLEARNING_SCORES, unlearning_score_by_name
from creditline.errors import NotReady
from creditline.generator.losses import LOSS, Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator

# The twenty strided timesteps of AbU, one noise each.
WORK_DRAWS = Draws(timesteps=20, repeats=1, salt="unlearning")
_WORKS_PER_BLOCK = 128


class Unlearning(Attributor):
    """Unlearns each query and scores every work by its change of loss.

    Args:
        name: Name of the method.
        generator: The generator.
        forgetting: Creates the unlearning procedure from the works and the method's directory, where it may
            store artifacts such as a Fisher.
        score: The score that `scores` returns, one of `UNLEARNING_SCORES`.
        draws: Timesteps and noises of the works' losses.

    Raises:
        InvalidInput: The score is unknown.
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
        unlearning_score_by_name(score)
        self._score = score
        self._draws = draws
        self._works: Gallery | None = None
        self._forgetting: Forgetting | None = None
        self._before = torch.empty(0)

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Compute the works' losses under θ₀, or open them from disk, and create the unlearning procedure.

        Args:
            works: The works to score.
            directory: Directory of the method's artifacts.
        """
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

    def scores_among(self, queries: Gallery, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        if self._score == "relative":
            # In units of the mean loss of all works, so that all of them must be evaluated.
            return super().scores_among(queries, mask)
        score, passes = UNLEARNING_SCORES[self._score], 0.0
        scores = np.zeros(mask.shape)
        for number, row in enumerate(mask):
            works = np.flatnonzero(row)
            if not len(works):
                continue
            after, spent = self._losses_after(queries.examples.rows([number]), works.tolist())
            passes += spent
            before = self._before[torch.from_numpy(works).to(self._before.device)]
            scores[number, works] = score(before, after, self._draws)
        self.passes_per_query = passes / len(queries)
        return scores

    def every_score(self, queries: Gallery) -> dict[str, NDArray[np.float64]]:
        """All of `UNLEARNING_SCORES`, from one unlearning of each query.

        Returns:
            Scores by name, each (Q, N) float64: the method's own score under the method's name, the others
            under NAME-SCORE.
        """
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
        """Losses of some works, or of all, after unlearning the query, (N, draws), and the passes spent."""
        if self._works is None or self._forgetting is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        with self._forgetting.forget(self._generator, query) as forgotten:
            works = self._works.examples if rows is None else self._works.examples.rows(rows)
            after = denoising_losses(self._generator, works, self._draws)
        return after, forgotten.passes + len(works) * len(self._draws)
