"""Imputation of one half of a query from the other: what its prompt would be by its picture, and the reverse.

An encoder needs picture and prompt. To ask what one of them says alone, the other one's features are replaced
by their expectation given the first, by ridge regression of reduced rank on pairs of pictures and texts. That
expectation, and not a fixed reference, is what conditions an encoder on one half only (Aas, Jullum, Løland,
"Explaining individual predictions when features are dependent", 2021).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from creditline.encoder.belonging import refuse_other_encoder
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.tensor_files import read_arrays, write_arrays
from creditline.towers.parts import Parts

Rows = NDArray[np.float32]

MIN_PAIRS = 32
"""Least number of pairs that an imputation can be fitted on."""
# Chosen by cross-validation over training queries of the reference release; nearby values do as well.
_RANK = 128
# In mean eigenvalues of the covariance.
_REGULARISATION = 1.0
_PICTURE_FROM_TEXT, _TEXT_FROM_PICTURE = "picture_from_text", "text_from_picture"


@dataclass(frozen=True, eq=False)
class _Regression:
    """An affine map of reduced rank."""

    given: Rows
    """(A,), mean of what is given."""
    sought: Rows
    """(B,), mean of what is sought."""
    down: Rows
    """(A, R), map to the common space."""
    up: Rows
    """(R, B), map from the common space."""

    @classmethod
    def of(cls, given: Rows, sought: Rows) -> _Regression:
        """Fit by least squares on rows (N, A) and (N, B), with a penalty on large maps."""
        means = given.mean(axis=0), sought.mean(axis=0)
        left, right = (given - means[0]).astype(np.float64), (sought - means[1]).astype(np.float64)
        covariance = left.T @ left
        penalty = _REGULARISATION * np.trace(covariance) / len(covariance)
        covariance[np.diag_indices(len(covariance))] += max(float(penalty), 1e-12)
        whole = np.linalg.solve(covariance, left.T @ right)
        # The directions in which the fitted values vary most.
        triangle = np.linalg.qr(left, mode="r")
        directions = np.linalg.svd(triangle @ whole, full_matrices=False)[2][:_RANK]
        return cls(
            means[0].astype(np.float32),
            means[1].astype(np.float32),
            (whole @ directions.T).astype(np.float32),
            directions.astype(np.float32),
        )

    def __call__(self, given: Rows) -> Rows:
        """Expectation of what is sought: (B, A) -> (B, B')."""
        return np.asarray((given - self.given) @ self.down @ self.up + self.sought, dtype=np.float32)

    def arrays(self, name: str) -> dict[str, NDArray[np.float16] | Rows]:
        """The arrays of a file, by name."""
        exact = {f"{name}.given": self.given, f"{name}.sought": self.sought}
        return {
            **exact,
            f"{name}.down": self.down.astype(np.float16),
            f"{name}.up": self.up.astype(np.float16),
        }

    @classmethod
    def read(cls, name: str, arrays: dict[str, NDArray[np.floating]]) -> _Regression:
        """The map that `arrays` gave. Raises KeyError."""
        fields = ("given", "sought", "down", "up")
        return cls(*(arrays[f"{name}.{field}"].astype(np.float32) for field in fields))


@dataclass(frozen=True, eq=False)
class Imputation:
    """Estimates one half of queries from the other, in joined features of the towers."""

    parts: Parts
    """Dimensions of the parts of the features."""
    picture_from_text: _Regression
    """From a text's features to those of a picture, layout included."""
    text_from_picture: _Regression
    """From a picture's features, layout included, to those of a text."""
    encoder: str = ""
    """SHA-256 of the encoder's file that it was fitted for; empty: not stated."""

    @classmethod
    def of(cls, pairs: Rows, parts: Parts, *, encoder: str = "") -> Self:
        """Fit on pairs of pictures and texts.

        Args:
            pairs: (N, F) joined features of training queries and of works with their captions.
            parts: Dimensions of the parts of F.
            encoder: SHA-256 of the encoder's file that it is fitted for.

        Raises:
            InvalidInput: There are fewer than `MIN_PAIRS` pairs.
        """
        if len(pairs) < MIN_PAIRS:
            raise InvalidInput(
                f"{len(pairs)} pairs are too few to estimate prompts from pictures; label at"
                f" least {MIN_PAIRS}",
                field="queries",
            )
        pictures, texts = pairs[:, : _pictures(parts)], pairs[:, _pictures(parts) :]
        return cls(parts, _Regression.of(texts, pictures), _Regression.of(pictures, texts), encoder)

    def picture_alone(self, features: Rows) -> Rows:
        """The features with each text replaced by the one expected from its picture: (B, F) -> (B, F)."""
        pictures = features[:, : _pictures(self.parts)]
        return np.concatenate([pictures, self.text_from_picture(pictures)], axis=1)

    def prompt_alone(self, features: Rows) -> Rows:
        """The features with each picture replaced by the one expected from its prompt: (B, F) -> (B, F)."""
        texts = features[:, _pictures(self.parts) :]
        return np.concatenate([self.picture_from_text(texts), texts], axis=1)

    def save(self, path: Path) -> None:
        """Write the imputation to one safetensors file, its matrices in half precision."""
        arrays = {
            **self.picture_from_text.arrays(_PICTURE_FROM_TEXT),
            **self.text_from_picture.arrays(_TEXT_FROM_PICTURE),
        }
        write_arrays(path, arrays, {"parts": json.dumps(asdict(self.parts)), "encoder": self.encoder})

    @classmethod
    def load(cls, path: Path, *, encoder: str | None = None) -> Self:
        """Read an imputation that `save` wrote.

        Args:
            path: The file.
            encoder: SHA-256 of the encoder's file that it must belong to; None: not checked.

        Raises:
            NotReady: There is no file at the path.
            FingerprintMismatch: The file does not hold an imputation, or that of another encoder.
        """
        if not path.is_file():
            raise NotReady(
                f"there is no imputation of prompts from pictures at {path}; build the release again",
                field="imputation",
            )
        try:
            arrays, metadata = read_arrays(path)
            found = cls(
                Parts(**json.loads(metadata["parts"])),
                _Regression.read(_PICTURE_FROM_TEXT, arrays),
                _Regression.read(_TEXT_FROM_PICTURE, arrays),
                metadata["encoder"],
            )
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise FingerprintMismatch(
                f"{path} does not hold an imputation of prompts from pictures ({error}); build the release"
                " again",
                field="imputation",
            ) from error
        refuse_other_encoder(path, found.encoder, encoder)
        return found


def _pictures(parts: Parts) -> int:
    """Number of the first columns, which are of the picture."""
    return parts.image + parts.layout
