"""The file of compressed gradient rows that re-ranking uses, `rerank.safetensors` of a release.

It holds `rows` (N, k) int8 in units of `scales` (N,) float32, and `work_ids`, their ids as JSON; its metadata
name what it was made for. A row is (ΦᵀΦ + λ)⁻¹ φ(work), so that its inner product with a query's compressed
gradient is TRAK's kernel (arXiv 2303.14186, equation 14) without any further matrix.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.gradients.sketches.formats import RowFormat, StoredRows, stored_as
from creditline.errors import FingerprintMismatch
from creditline.tensor_files import read_artifact, write_arrays

COMMAND = "creditline release rerank"
"""The command that makes the file."""
_FORM = "2"
_ARRAYS = ("rows", "scales", "work_ids")
_FORMAT: RowFormat = "int8"


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
    rows: StoredRows
    """The rows, N of k numbers."""

    @classmethod
    def of(
        cls, origin: RowOrigin, work_ids: Sequence[str], rows: Iterable[NDArray[np.float32]]
    ) -> KernelRows:
        """Round rows to numbers of one byte.

        Args:
            origin: What they are made for.
            work_ids: (N,) ids of the works.
            rows: The rows in blocks, N together: (R, k) float32 each, of any scale.
        """
        blocks = [stored_as(block, _FORMAT) for block in rows]
        values, scales = (
            np.concatenate([getattr(block, name) for block in blocks]) for name in ("values", "scales")
        )
        return cls(origin, tuple(work_ids), StoredRows(values, scales, _FORMAT, blocks[0].width))

    @property
    def dimension(self) -> int:
        """Numbers of one row: k."""
        return self.rows.width

    def save(self, path: Path) -> None:
        """Write or replace the file."""
        ids = np.frombuffer(json.dumps(list(self.work_ids)).encode(), dtype=np.uint8)
        stored = {"rows": self.rows.values, "scales": self.rows.scales, "work_ids": ids}
        stated = {"form": _FORM, "dimension": str(self.dimension), **vars(self.origin)}
        write_arrays(path, stored, stated, durable=True)

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
        width = int(metadata["dimension"])
        return cls(origin, ids, StoredRows(arrays["rows"], arrays["scales"], _FORMAT, width))

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
