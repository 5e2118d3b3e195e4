"""The file of compressed gradient rows that re-ranking uses, `rerank.safetensors` of a release.

It holds `rows` (N, k) float16 in units of `units` (N,) float32, and `work_ids`, their ids as JSON; its
metadata name what it was made for. A row is (ΦᵀΦ + λ)⁻¹ φ(work), so that its inner product with a query's
compressed gradient is TRAK's kernel (arXiv 2303.14186, equation 14) without any further matrix.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.errors import FingerprintMismatch
from creditline.tensor_files import read_artifact, write_arrays

COMMAND = "creditline release rerank"
"""The command that makes the file."""
_FORM = "1"
_ARRAYS = ("rows", "units", "work_ids")


@dataclass(frozen=True)
class RowOrigin:
    """What rows are made for."""

    release: str
    """Name of the release."""
    generator: str
    """Fingerprint of the generator."""
    corpus: str
    """Fingerprint of the corpus."""
    space: str
    """The space of the gradients (`sketch.stated_space`)."""


@dataclass(frozen=True, eq=False)
class KernelRows:
    """Rows of the works of a release."""

    origin: RowOrigin
    """What they are made for."""
    work_ids: tuple[str, ...]
    """(N,) ids of the works."""
    rows: NDArray[np.float16]
    """(N, k) float16, each in its own unit."""
    units: NDArray[np.float32]
    """(N,) float32, what the numbers of each row are multiplied by."""

    @classmethod
    def of(cls, origin: RowOrigin, work_ids: Sequence[str], rows: NDArray[np.floating[Any]]) -> KernelRows:
        """Compress rows to float16.

        Args:
            origin: What they are made for.
            work_ids: (N,) ids of the works.
            rows: (N, k), of any scale.
        """
        largest = np.abs(rows).max(axis=1)
        units = np.where(largest > 0.0, largest, 1.0)
        return cls(
            origin, tuple(work_ids), (rows / units[:, None]).astype(np.float16), units.astype(np.float32)
        )

    def products(self, rows: Sequence[int] | slice, query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Inner products of some rows with a query's.

        Args:
            rows: Numbers of the R rows.
            query: (k,) float32.

        Returns:
            (R,) float64.
        """
        products = (self.rows[rows].astype(np.float32) @ query).astype(np.float64)
        return products * self.units[rows]

    def save(self, path: Path) -> None:
        """Write or replace the file."""
        ids = np.frombuffer(json.dumps(list(self.work_ids)).encode(), dtype=np.uint8)
        arrays: dict[str, NDArray[Any]] = {"rows": self.rows, "units": self.units, "work_ids": ids}
        write_arrays(path, arrays, {"form": _FORM, **vars(self.origin)}, durable=True)

    @classmethod
    def read(cls, path: Path) -> KernelRows:
        """Read a file that `save` wrote.

        Raises:
            NotReady: There is no such file.
            InvalidInput: The file is truncated.
            FingerprintMismatch: The file is of another form.
        """
        arrays, metadata = read_artifact(
            path,
            what="file of gradient rows",
            command=COMMAND,
            remedy="copy it again, or make it again",
            field="rerank",
        )
        if metadata.get("form") != _FORM or any(name not in arrays for name in _ARRAYS):
            raise FingerprintMismatch(
                f"{path} has not the form of gradient rows that this version reads; make it again with"
                f" `{COMMAND}`",
                field="rerank",
            )
        origin = RowOrigin(*(metadata.get(name, "") for name in RowOrigin.__dataclass_fields__))
        ids = tuple(json.loads(arrays["work_ids"].tobytes()))
        return cls(origin, ids, arrays["rows"], arrays["units"])

    def refuse_other(self, path: Path, expected: Mapping[str, str]) -> None:
        """Check what the rows were made for.

        Args:
            path: The file, for the error.
            expected: What they must have been made for: any of `release`, `generator` and `corpus`.

        Raises:
            FingerprintMismatch: They were made for another one; the error's field names which.
        """
        for name, wanted in expected.items():
            stated = getattr(self.origin, name)
            if stated != wanted:
                raise FingerprintMismatch(
                    f"{path} was made for {name} {stated or 'unknown'}, not {wanted}; make the rows of this"
                    f" release with `{COMMAND}`",
                    field=name,
                )
