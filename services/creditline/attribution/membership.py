"""Membership inference: the probability that the generator was trained on a work, from the work's losses.

The losses of training works are lower (membership inference from the loss, arXiv 2302.01316). Visual
similarity cannot decide membership, because a picture outside the training set may resemble a query as much
as one inside it. The loss can, as far as the generator has memorised single works; for a generator that was
trained on each work only a few times it carries no information.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator

# Timesteps over the whole schedule: memorisation shows most where half of the picture is noise.
DRAWS = Draws(timesteps=10, repeats=2, salt="membership", mirrored=True)
_MIN_EXAMPLES = 10
_REGULARISATION = 0.1


@dataclass(frozen=True, eq=False)
class Membership:
    """Logistic regression of membership on the logarithms of a work's losses at T timesteps."""

    mean: NDArray[np.float64]
    """Mean of the logarithms at each timestep: (T,) float64."""
    spread: NDArray[np.float64]
    """Standard deviation of the logarithms at each timestep: (T,) float64."""
    weights: NDArray[np.float64]
    """Coefficient of each standardised logarithm: (T,) float64."""
    offset: float
    """Intercept, in log odds."""

    @classmethod
    def fit(cls, members: NDArray[np.floating], non_members: NDArray[np.floating]) -> Membership:
        """Fit the regression; both classes have equal weight, whatever their sizes.

        Args:
            members: (N, T) losses of works that the generator was trained on.
            non_members: (M, T) losses of pictures that it was not trained on.

        Raises:
            InvalidInput: A class has fewer than 10 pictures, or a value is not a positive finite number.
        """
        for name, losses in (("members", members), ("non_members", non_members)):
            if len(losses) < _MIN_EXAMPLES:
                raise InvalidInput(
                    f"{len(losses)} {name.replace('_', '-')} are too few to fit membership;"
                    f" give the losses of at least {_MIN_EXAMPLES}",
                    field=name,
                )
        logs = np.concatenate([_logarithms(members), _logarithms(non_members)])
        mean, spread = logs.mean(axis=0), np.maximum(logs.std(axis=0), 1e-9)
        is_member = np.repeat([1, 0], [len(members), len(non_members)])
        fitted = LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=1000)
        fitted.fit((logs - mean) / spread, is_member)
        return cls(mean, spread, fitted.coef_[0].astype(np.float64), float(fitted.intercept_[0]))

    def probability(self, losses: NDArray[np.floating], *, odds: float = 1.0) -> NDArray[np.float64]:
        """Probability that the generator was trained on each work.

        Args:
            losses: (K, T) losses, at the timesteps of the fit.
            odds: Prior odds of membership: members over non-members.

        Returns:
            Probabilities: (K,) float64.

        Raises:
            InvalidInput: The number of timesteps differs from the fit's, or a value is not a positive finite
                number.
        """
        logs = _logarithms(losses)
        if logs.shape[1] != len(self.weights):
            raise InvalidInput(
                f"losses of {logs.shape[1]} timesteps were given, {len(self.weights)} were fitted on;"
                " measure both at the same timesteps",
                field="losses",
            )
        log_odds = ((logs - self.mean) / self.spread) @ self.weights + self.offset + np.log(odds)
        probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-log_odds))
        return probabilities


def own_losses(generator: Generator, works: Examples) -> NDArray[np.float64]:
    """Each work's loss at the ten timesteps of `DRAWS`, averaged over the noises: (N, T) float64."""
    losses = denoising_losses(generator, works, DRAWS).double().cpu().numpy()
    by_timestep: NDArray[np.float64] = losses.reshape(len(works), DRAWS.timesteps, -1).mean(axis=2)
    return by_timestep


def _logarithms(losses: NDArray[np.floating]) -> NDArray[np.float64]:
    if losses.ndim != 2 or not np.isfinite(losses).all() or (losses <= 0).any():
        raise InvalidInput(
            f"losses must be positive numbers, one row for each work; got an array of shape {losses.shape}",
            field="losses",
        )
    logarithms: NDArray[np.float64] = np.log(losses.astype(np.float64))
    return logarithms
