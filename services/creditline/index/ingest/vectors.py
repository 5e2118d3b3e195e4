"""Where the vectors of an ingest's works come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from creditline.corpus.sources import Found
from creditline.errors import InvalidInput

# Shorter vectors have no meaningful direction.
MIN_NORM = 1e-12


class WorkVectors(Protocol):
    """Function from rows of a source to the vectors of their works."""

    @property
    def fingerprint(self) -> str:
        """Identity of the function; a resumed ingest must use the same one."""
        ...

    @property
    def decodes_pictures(self) -> bool:
        """Whether `embed` decodes pictures and reports their faults, so that the source need not."""
        ...

    def dimension_of(self, found: Found) -> int:
        """Dimension of the vector of a row that holds a work."""
        ...

    def embed(self, found: Sequence[Found]) -> Sequence[npt.NDArray[np.float32] | str]:
        """Compute the vectors of rows, all of which hold works.

        Returns:
            For each row the vector, (D,) float32, or the reason why it has none.
        """
        ...


@dataclass(frozen=True)
class SourceFeatures:
    """Uses the image features of a source as vectors, L2-normalised."""

    fingerprint: str = "features as they are"
    """Identity of the function, stored in checkpoints."""
    decodes_pictures: bool = False
    """Whether `embed` decodes pictures: it does not look at them."""

    def dimension_of(self, found: Found) -> int:
        """Dimension of a row's image features. Raises InvalidInput if it has none."""
        return len(_image_features(found))

    def embed(self, found: Sequence[Found]) -> list[npt.NDArray[np.float32] | str]:
        """Take the image features of rows.

        Returns:
            For each row (D,) float32, L2-normalised; zero vectors are left unchanged.

        Raises:
            InvalidInput: A row has no image features.
        """
        return [_normalised(_image_features(each)) for each in found]


def _image_features(found: Found) -> npt.NDArray[np.float32]:
    if found.image_features is None:
        raise InvalidInput(
            f"row {found.row} of {found.part} has no features; embed its picture with --embedder",
            field="source",
        )
    return np.asarray(found.image_features, dtype=np.float32)


def _normalised(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(vector)
    return np.divide(vector, length, dtype=np.float32) if length > MIN_NORM else vector
