"""TRAK's kernel (arXiv 2303.14186, 2311.00500): φ(query)ᵀ (ΦᵀΦ + λ)⁻¹ φ(work), in float64.

ΦᵀΦ (k, k) and ΦΦᵀ (N, N) give the same scores, by (ΦᵀΦ + λ)⁻¹ Φᵀ = Φᵀ (ΦΦᵀ + λ)⁻¹; the smaller one is solved.
λ is relative to the mean eigenvalue of ΦΦᵀ, trace / N = the works' mean squared length, because the papers'
absolute values do not carry over to gradients of another scale. Averaging over several checkpoints is left to
the caller.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from creditline.errors import InvalidInput

# D-TRAK's grid 1-2-5 from 1e-2 to 5e6, here relative. From a few thousand on, λ outweighs all of ΦΦᵀ, whose
# largest eigenvalue is at most N times the mean, and the ranking is that of the plain inner product.
REGULARISATIONS = tuple(digit * 10.0**power for power in range(-2, 7) for digit in (1.0, 2.0, 5.0))

# Divisor of a work's scores: 1 (TRAK, D-TRAK), the length of (ΦᵀΦ + λ)⁻¹ φ(work) (relative influence,
# arXiv 2003.11630), or the length of φ(work) (renormalised influence, arXiv 2201.10055).
TrakDivisor = Literal["one", "relative", "renormalised"]

# Number of columns converted to float64 at a time (bounds memory: rows may be a memory map).
_COLUMNS = 1 << 14

# A work whose features are shorter than this part of the works' root mean square length counts as a work
# without features: its scores and divisors are only the rounding of the eigendecomposition.
_NEGLIGIBLE_LENGTH = 1e-9

_Rows = NDArray[Any]
_Matrix = NDArray[np.float64]


def trak_scores(queries: _Rows, works: _Rows, regularisation: float) -> _Matrix:
    """Scores of the kernel at one λ, by one Cholesky factorisation.

    Args:
        queries: Features of the queries: (Q, k).
        works: Features of the works: (N, k).
        regularisation: λ, relative to the works' mean squared length, above 0.

    Returns:
        Scores: (Q, N) float64.

    Raises:
        InvalidInput: The feature dimensions differ, λ is not above 0, the works' features are all 0, or a
            feature is not finite.
    """
    _refuse_shape_mismatch(queries, works)
    _refuse_not_finite(queries, "features of query")
    _refuse_not_finite(works, "features of work")
    dual = works.shape[0] <= works.shape[1]
    gram = _products(works, works) if dual else _products(works.T, works.T)
    factor = scipy.linalg.cho_factor(gram + _absolute(regularisation, gram, len(works)) * np.eye(len(gram)))
    if dual:
        return scipy.linalg.cho_solve(factor, _products(works, queries)).T
    return _products(scipy.linalg.cho_solve(factor, queries.T.astype(np.float64)).T, works)


class DualKernel:
    """The kernel computed from inner products alone, for any λ, by one eigendecomposition of ΦΦᵀ.

    Args:
        gram: ΦΦᵀ: (N, N) float64.

    Raises:
        InvalidInput: The matrix is not square, all 0, or not finite.
    """

    def __init__(self, gram: NDArray[np.float64]) -> None:
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
            raise InvalidInput(
                f"the works' inner products have shape {gram.shape}; give a square matrix (N, N)"
            )
        _refuse_not_finite(np.diag(gram)[:, None], "inner products of work")
        self._mean = _mean_eigenvalue(gram, len(gram))
        self._lengths = np.sqrt(np.maximum(np.diag(gram), 0.0))
        self._has_features = self._lengths > _NEGLIGIBLE_LENGTH * np.sqrt(self._mean)
        self._values, self._vectors = _eigen(gram)

    def scores(
        self, products: NDArray[np.float64], regularisation: float, divisor: TrakDivisor = "one"
    ) -> _Matrix:
        """Scores of the kernel.

        Args:
            products: Inner products of the queries' with the works' features: (Q, N) float64.
            regularisation: λ, relative to the works' mean squared length, above 0.
            divisor: What the scores of each work are divided by.

        Returns:
            Scores: (Q, N) float64; 0 for a work whose features are 0.

        Raises:
            InvalidInput: The number of works differs, an inner product is not finite, λ is not above 0, or
                the divisor is unknown.
        """
        if products.ndim != 2 or products.shape[1] != len(self._vectors):
            raise InvalidInput(
                f"inner products have shape {products.shape}; this kernel takes (Q, {len(self._vectors)})"
            )
        _refuse_not_finite(products, "inner products of query")
        damped = self._values + _validated(regularisation) * self._mean
        solved = (products @ self._vectors / damped) @ self._vectors.T
        return self._divided(solved, self._divisors(damped, divisor))

    def leverages(self, regularisation: float) -> _Matrix:
        """Leverages of the works: the diagonal of ΦΦᵀ (ΦΦᵀ + λ)⁻¹.

        Args:
            regularisation: λ, relative to the works' mean squared length, above 0.

        Returns:
            Leverages from 0 to 1: (N,) float64.

        Raises:
            InvalidInput: λ is not above 0.
        """
        damped = self._values + _validated(regularisation) * self._mean
        leverages: _Matrix = self._vectors**2 @ (self._values / damped)
        return leverages

    def _divisors(self, damped: _Matrix, divisor: TrakDivisor) -> _Matrix:
        """Divisor of each work: (N,).

        The square of the length of (ΦᵀΦ + λ)⁻¹ φ(work) is on the diagonal of (G + λ)⁻¹ G (G + λ)⁻¹ with
        G = ΦΦᵀ.
        """
        if divisor == "one":
            return np.ones(len(self._vectors))
        if divisor == "renormalised":
            return self._lengths
        if divisor == "relative":
            return np.sqrt(self._vectors**2 @ (self._values / damped**2))
        raise InvalidInput(
            f"unknown divisor {divisor!r}; choose one of {', '.join(get_args(TrakDivisor))}", field="divisor"
        )

    def _divided(self, scores: _Matrix, divisors: _Matrix) -> _Matrix:
        """Scores divided by column; 0 for a work without features, whose scores are rounding only."""
        usable = self._has_features & (divisors > 0)
        return np.divide(scores, divisors, out=np.zeros_like(scores), where=usable)


class TrakKernel:
    """The kernel computed from features, for any λ, by one eigendecomposition of ΦΦᵀ or ΦᵀΦ.

    Args:
        works: Features Φ of the works: (N, k).

    Raises:
        InvalidInput: The features are not a matrix, all 0, or not finite.
    """

    def __init__(self, works: _Rows) -> None:
        _refuse_shape_mismatch(works, works)
        _refuse_not_finite(works, "features of work")
        self._works = works
        self._dual = DualKernel(_products(works, works)) if len(works) <= works.shape[1] else None
        if self._dual is None:
            covariance = _products(works.T, works.T)
            self._mean = _mean_eigenvalue(covariance, len(works))
            self._values, self._vectors = _eigen(covariance)

    def scores(self, queries: _Rows, regularisation: float) -> _Matrix:
        """Scores of the kernel.

        Args:
            queries: Features of the queries: (Q, k).
            regularisation: λ, relative to the works' mean squared length, above 0.

        Returns:
            Scores: (Q, N) float64.

        Raises:
            InvalidInput: The feature dimension differs, a feature is not finite, or λ is not above 0.
        """
        _refuse_shape_mismatch(queries, self._works)
        _refuse_not_finite(queries, "features of query")
        if self._dual is not None:
            return self._dual.scores(_products(queries, self._works), regularisation)
        damped = self._values + _validated(regularisation) * self._mean
        solved = (queries.astype(np.float64) @ self._vectors / damped) @ self._vectors.T
        return _products(solved, self._works)


def _products(first: _Rows, second: _Rows) -> _Matrix:
    """Inner products of rows: (A, P), (B, P) -> (A, B)."""
    total = np.zeros((len(first), len(second)))
    for start in range(0, first.shape[1], _COLUMNS):
        left, right = (rows[:, start : start + _COLUMNS].astype(np.float64) for rows in (first, second))
        total += left @ right.T
    return total


def _eigen(gram: _Matrix) -> tuple[_Matrix, _Matrix]:
    """Eigenvalues, clipped to 0 against rounding, and eigenvectors as columns."""
    values, vectors = scipy.linalg.eigh(gram)
    return np.maximum(values, 0.0), vectors


def _absolute(regularisation: float, gram: _Matrix, works: int) -> float:
    return _validated(regularisation) * _mean_eigenvalue(gram, works)


def _mean_eigenvalue(gram: _Matrix, works: int) -> float:
    """Mean eigenvalue of ΦΦᵀ, computed from ΦΦᵀ or from ΦᵀΦ, which have the same trace."""
    mean = float(np.trace(gram)) / works if works else 0.0
    if not 0 < mean < np.inf:
        raise InvalidInput(
            f"the mean squared length of the features of {works} works is {mean}; give features that are"
            " finite and not all 0"
        )
    return mean


def _refuse_not_finite(rows: _Rows, what: str) -> None:
    """Refuse NaN and infinity, naming the first row that has them; rows may be a memory map."""
    for number, row in enumerate(rows):
        if not np.isfinite(row).all():
            raise InvalidInput(
                f"the {what} number {number} of {len(rows)} are NaN or infinite; check that picture, and the"
                " generator's weights for NaN"
            )


def _validated(regularisation: float) -> float:
    if not regularisation > 0:
        raise InvalidInput(
            f"regularisation {regularisation} is not above 0, so that the kernel cannot be inverted; give a"
            " positive number, such as 1",
            field="regularisation",
        )
    return regularisation


def _refuse_shape_mismatch(queries: _Rows, works: _Rows) -> None:
    if queries.ndim != 2 or works.ndim != 2 or queries.shape[1] != works.shape[1]:
        raise InvalidInput(
            f"features of queries of shape {queries.shape} do not fit features of works of shape"
            f" {works.shape}; give (Q, k) and (N, k) from one projection"
        )
