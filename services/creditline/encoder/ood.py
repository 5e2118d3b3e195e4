"""How unlike a picture is to all that an encoder was trained and calibrated on.

An answer about a picture of another kind (a photograph, noise, another model's work) is no answer: the
figures of a release say nothing of it. Known pictures lie near a few directions of the image tower's
features; what a picture has beside them is what was never seen. Prompts are left out: a usual prompt under a
foreign picture makes it no more usual.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.tensor_files import write_arrays

# Fewer pictures than this tell nothing.
FEWEST = 16
_DIRECTIONS = 128
# One usual picture of a hundred is as unlike as a picture that is called unfamiliar.
_USUAL = 0.99


@dataclass(frozen=True, eq=False)
class OodDetector:
    """The directions that known pictures lie in, and how far off usual ones are.

    mean: (F,); directions: (D, F), orthogonal rows of length 1; limit: the distance that a usual picture in a
    hundred passes.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    limit: float

    @classmethod
    def of(
        cls, known: NDArray[np.float32], usual: NDArray[np.float32], *, directions: int = _DIRECTIONS
    ) -> OodDetector:
        """known: (Q, F) image features of training queries; usual: (H, F), of others of the same kind.

        Raises InvalidInput when either are too few to tell what is usual.
        """
        for name, features in (("known", known), ("usual", usual)):
            if len(features) < FEWEST:
                raise InvalidInput(
                    f"{len(features)} {name} pictures cannot tell what is usual; label at least {FEWEST}",
                    field=name,
                )
        mean = known.mean(axis=0)
        _, spreads, rows = np.linalg.svd(known - mean, full_matrices=False)
        # Fewer than there are pictures, or every known picture would be its own direction.
        kept = min(directions, len(known) // 2, int((spreads > 1e-6 * spreads[0]).sum()))
        found = cls(mean.astype(np.float32), rows[:kept].astype(np.float32), 1.0)
        return cls(found.mean, found.directions, float(np.quantile(found.ood_score(usual), _USUAL)))

    def ood_score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far pictures lie from all known directions, in parts of the limit: (Q, F) -> (Q,).

        Above 1 a picture is unlike all but one in a hundred of those that the release was calibrated on.
        """
        centred = features - self.mean
        beside = centred - (centred @ self.directions.T) @ self.directions
        distances: NDArray[np.float64] = np.linalg.norm(beside, axis=1).astype(np.float64) / self.limit
        return distances

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        arrays = {"mean": self.mean, "directions": self.directions}
        write_arrays(path, arrays, {"limit": json.dumps(self.limit)})

    @classmethod
    def load(cls, path: Path) -> OodDetector:
        """Read what `save` wrote. Raises NotReady, FingerprintMismatch."""
        if not path.is_file():
            raise NotReady(f"no familiar directions at {path}; build the release again", field="familiar")
        try:
            with safe_open(path, framework="np") as opened:
                limit = float(json.loads(opened.metadata()["limit"]))
                return cls(opened.get_tensor("mean"), opened.get_tensor("directions"), limit)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise FingerprintMismatch(
                f"{path} holds no familiar directions ({error}); build the release again", field="familiar"
            ) from error
