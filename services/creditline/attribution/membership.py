"""Was the generator trained on this work? Told by the work's own losses: a member's are lower.

Likeness cannot know it: a picture that was never seen looks as much like a query as one that was. Its loss
under the generator can, as far as the generator remembers single works (membership inference from the loss,
arXiv 2302.01316); for one that was trained on each work a few times only, it tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator

# Of the whole schedule: what a generator remembers of a picture shows most where half of it is noise.
DRAWS = Draws(timesteps=10, repeats=2, salt="membership", mirrored=True)
_FEWEST = 10
_REGULARISATION = 0.1


@dataclass(frozen=True, eq=False)
class Membership:
    """Evidence from the logarithms of losses: mean, spread, weights: (T,); offset: a number."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weights: NDArray[np.float64]
    offset: float

    @classmethod
    def fit(cls, members: NDArray[np.floating], strangers: NDArray[np.floating]) -> Membership:
        """members: (N, T) losses of works that were trained on; strangers: (M, T), of pictures that were not.

        Raises InvalidInput when there are too few, or when they are no losses.
        """
        for name, losses in (("members", members), ("strangers", strangers)):
            if len(losses) < _FEWEST:
                raise InvalidInput(
                    f"{len(losses)} {name} tell nothing of the rest; measure at least {_FEWEST}", field=name
                )
        logs = np.concatenate([_logarithms(members), _logarithms(strangers)])
        mean, spread = logs.mean(axis=0), np.maximum(logs.std(axis=0), 1e-9)
        is_member = np.repeat([1, 0], [len(members), len(strangers)])
        fitted = LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=1000)
        fitted.fit((logs - mean) / spread, is_member)
        return cls(mean, spread, fitted.coef_[0].astype(np.float64), float(fitted.intercept_[0]))

    def probability(self, losses: NDArray[np.floating], *, odds: float = 1.0) -> NDArray[np.float64]:
        """That a work was trained on: (K, T) -> (K,). odds: members over strangers, as far as is known."""
        logs = _logarithms(losses)
        if logs.shape[1] != len(self.weights):
            raise InvalidInput(
                f"losses of {logs.shape[1]} timesteps were given, {len(self.weights)} were fitted on; measure"
                " both alike",
                field="losses",
            )
        evidence = ((logs - self.mean) / self.spread) @ self.weights + self.offset + np.log(odds)
        found: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-evidence))
        return found


def own_losses(generator: Generator, works: Examples) -> NDArray[np.float64]:
    """Each work's loss at ten timesteps, mean over the noises: (N, T)."""
    losses = denoising_losses(generator, works, DRAWS).double().cpu().numpy()
    found: NDArray[np.float64] = losses.reshape(len(works), DRAWS.timesteps, -1).mean(axis=2)
    return found


def _logarithms(losses: NDArray[np.floating]) -> NDArray[np.float64]:
    if losses.ndim != 2 or not np.isfinite(losses).all() or (losses <= 0).any():
        raise InvalidInput(
            f"losses must be positive numbers, a row for each work; got shape {losses.shape}", field="losses"
        )
    found: NDArray[np.float64] = np.log(losses.astype(np.float64))
    return found
