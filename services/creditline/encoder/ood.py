"""Out-of-distribution score: how unlike a picture is to those that an encoder was trained and calibrated on.

The figures of a release do not hold for pictures of another kind (a photograph, noise, another model's
output). In-distribution pictures lie near a low-dimensional subspace of the image tower's features; the score
is a picture's distance from that subspace. Prompts are left out: a usual prompt does not make an
out-of-distribution picture more usual.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.tensor_files import read_arrays, write_arrays

# Least number of pictures that the detector can be fitted on.
MIN_PICTURES = 16
_DIRECTIONS = 128
# Quantile of usual pictures' distances that is the limit: one usual picture in a hundred exceeds it.
_LIMIT_QUANTILE = 0.99


@dataclass(frozen=True, eq=False)
class OodDetector:
    """The subspace that known pictures lie in, and the distance from it that usual pictures stay within."""

    mean: NDArray[np.float32]
    """(F,) float32, mean feature of known pictures."""
    directions: NDArray[np.float32]
    """(D, F) float32, orthonormal rows that span the subspace."""
    limit: float
    """Distance that one usual picture in a hundred exceeds."""

    @classmethod
    def of(
        cls, known: NDArray[np.float32], usual: NDArray[np.float32], *, directions: int = _DIRECTIONS
    ) -> OodDetector:
        """Fit a detector.

        Args:
            known: (Q, F) float32 image features of training queries, which give the subspace.
            usual: (H, F) float32 image features of other queries of the same kind, which give the limit.
            directions: Greatest dimension of the subspace.

        Raises:
            InvalidInput: `known` or `usual` has fewer than 16 pictures.
        """
        for name, features in (("known", known), ("usual", usual)):
            if len(features) < MIN_PICTURES:
                raise InvalidInput(
                    f"{len(features)} {name} pictures are too few to fit an out-of-distribution detector;"
                    f" label at least {MIN_PICTURES}",
                    field=name,
                )
        mean = known.mean(axis=0)
        _, spreads, rows = np.linalg.svd(known - mean, full_matrices=False)
        # Fewer directions than pictures, or every known picture would have a direction of its own.
        kept = min(directions, len(known) // 2, int((spreads > 1e-6 * spreads[0]).sum()))
        unscaled = cls(mean.astype(np.float32), rows[:kept].astype(np.float32), 1.0)
        limit = float(np.quantile(unscaled.ood_score(usual), _LIMIT_QUANTILE))
        return cls(unscaled.mean, unscaled.directions, limit)

    def ood_score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances of pictures from the subspace, divided by the limit: (Q, F) float32 -> (Q,) float64.

        Only one in a hundred of the pictures that the release was calibrated on has a score above 1.
        """
        centred = features - self.mean
        residual = centred - (centred @ self.directions.T) @ self.directions
        distances: NDArray[np.float64] = np.linalg.norm(residual, axis=1).astype(np.float64) / self.limit
        return distances

    def save(self, path: Path) -> None:
        """Write the detector to one safetensors file."""
        arrays = {"mean": self.mean, "directions": self.directions}
        write_arrays(path, arrays, {"limit": json.dumps(self.limit)})

    @classmethod
    def load(cls, path: Path) -> OodDetector:
        """Read a detector that `save` wrote.

        Raises:
            NotReady: There is no file at the path.
            FingerprintMismatch: The file does not hold a detector.
        """
        if not path.is_file():
            raise NotReady(
                f"there is no out-of-distribution detector at {path}; build the release again",
                field="familiar",
            )
        try:
            arrays, metadata = read_arrays(path)
            return cls(arrays["mean"], arrays["directions"], float(json.loads(metadata["limit"])))
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise FingerprintMismatch(
                f"{path} does not hold an out-of-distribution detector ({error}); build the release again",
                field="familiar",
            ) from error
