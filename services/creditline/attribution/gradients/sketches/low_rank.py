"""Low-rank storage and curvature (LoRIF, arXiv 2601.21929).

A work's mapped gradient of one layer, a matrix (d₁, d₂), is stored as factors of rank c. The inverse of the
works' second moment needs only their leading r right singular vectors, by the identity of Woodbury.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class RankFactors:
    """Matrices as products of two thin ones: matrix i is left[i] @ right[i]ᵀ."""

    left: Tensor
    """(B, d₁, c) float32."""
    right: Tensor
    """(B, d₂, c) float32."""

    @property
    def numbers(self) -> int:
        """Numbers that are stored for one matrix."""
        return self.left[0].numel() + self.right[0].numel()

    def dense(self) -> Tensor:
        """The products: (B, d₁, d₂) float32."""
        return self.left @ self.right.transpose(1, 2)


def rank_factors(matrices: Tensor, rank: int) -> RankFactors:
    """The best factors of a rank, by the singular value decomposition.

    Args:
        matrices: (B, d₁, d₂) float32.
        rank: c, 1 or more; at most min(d₁, d₂) is useful.

    Raises:
        InvalidInput: The rank is below 1.
    """
    if rank < 1:
        raise InvalidInput(f"rank {rank} is too small; give 1 or more", field="rank")
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    return RankFactors(left[:, :, :rank] * values[:, None, :rank], right[:, :rank].transpose(1, 2))


@dataclass(frozen=True)
class TruncatedCurvature:
    """(ΦᵀΦ + λ)⁻¹ from the leading singular vectors of Φ; with all of them it is exact.

    Woodbury: λ⁻¹ (I − V diag(σ² / (σ² + λ)) Vᵀ).
    """

    vectors: NDArray[np.float32]
    """Right singular vectors V as columns: (k, r) float32."""
    squares: NDArray[np.float64]
    """Squared singular values σ²: (r,) float64."""
    damping: float
    """λ, in the units of ΦᵀΦ."""

    def solve(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(ΦᵀΦ + λ)⁻¹ of each row: (B, k) float32 -> (B, k) float32."""
        explained = (rows @ self.vectors) * (self.squares / (self.squares + self.damping))
        return ((rows - explained @ self.vectors.T) / self.damping).astype(np.float32)


def truncated_curvature(works: NDArray[np.float32], rank: int, regularisation: float) -> TruncatedCurvature:
    """The curvature of works' rows, truncated to a rank.

    Args:
        works: Rows Φ: (N, k) float32.
        rank: r; at most min(N, k) is useful.
        regularisation: λ, relative to the works' mean squared length, above 0.

    Raises:
        InvalidInput: The rank is below 1, λ is not above 0, or the rows are all 0 or not finite.
    """
    if rank < 1:
        raise InvalidInput(f"rank {rank} is too small; give 1 or more", field="rank")
    mean = float(np.square(works, dtype=np.float64).sum() / max(1, len(works)))
    if not 0 < mean < np.inf or not regularisation > 0:
        raise InvalidInput(
            f"the mean squared length of {len(works)} rows is {mean}, with a regularisation of"
            f" {regularisation}; both must be above 0 and finite",
            field="regularisation",
        )
    # The smaller of ΦΦᵀ and ΦᵀΦ: squares of singular values are accurate enough beside λ.
    gram = works @ works.T if len(works) <= works.shape[1] else works.T @ works
    values, basis = np.linalg.eigh(gram.astype(np.float64))
    rank = min(rank, int((values > values[-1] * 1e-7).sum()))
    squares, vectors = values[-rank:], basis[:, -rank:]
    if len(works) <= works.shape[1]:
        return TruncatedCurvature(
            (works.T @ vectors / np.sqrt(squares)).astype(np.float32), squares, regularisation * mean
        )
    return TruncatedCurvature(vectors.astype(np.float32), squares, regularisation * mean)
