"""TRAK's kernel (arXiv 2303.14186, 2311.00500): φ(query)ᵀ (ΦᵀΦ + λ)⁻¹ φ(work), in float64.

ΦᵀΦ (k, k) and ΦΦᵀ (N, N) give the same scores, by (ΦᵀΦ + λ)⁻¹ Φᵀ = Φᵀ (ΦΦᵀ + λ)⁻¹; the smaller is solved.
λ is given relative to the mean eigenvalue of ΦΦᵀ, trace / N = the works' mean squared length: the papers'
absolute values mean nothing for gradients of another scale. Scores of several checkpoints are averaged by
whoever has them.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from creditline.errors import InvalidInput

# D-TRAK's grid 1-2-5 from 1e-2 to 5e6, relative here. From some thousands on λ outweighs all of ΦΦᵀ, whose
# largest eigenvalue is N mean ones at most, and the ranking is that of the plain inner product.
REGULARISATIONS = tuple(digit * 10.0**power for power in range(-2, 7) for digit in (1.0, 2.0, 5.0))

# What a work's score is divided by: nothing (TRAK, D-TRAK), the length of (ΦᵀΦ + λ)⁻¹ φ(work) (relative
# influence, arXiv 2003.11630), or that of φ(work) (renormalised influence, arXiv 2201.10055).
TrakDivisor = Literal["one", "relative", "renormalised"]

# Columns are taken to float64 this many at a time (bounds memory: rows may be a memory map).
_COLUMNS = 1 << 14

_Rows = NDArray[Any]
_Matrix = NDArray[np.float64]


def trak_scores(queries: _Rows, works: _Rows, regularisation: float) -> _Matrix:
    """(Q, k), (N, k) -> (Q, N), by one Cholesky factorisation: the way when λ is known.

    Raises InvalidInput for widths that differ, λ not above 0, or features that are all 0 or no numbers.
    """
    _refuse_unlike(queries, works)
    dual = works.shape[0] <= works.shape[1]
    gram = _products(works, works) if dual else _products(works.T, works.T)
    factor = scipy.linalg.cho_factor(gram + _absolute(regularisation, gram, len(works)) * np.eye(len(gram)))
    if dual:
        return scipy.linalg.cho_solve(factor, _products(works, queries)).T
    return _products(scipy.linalg.cho_solve(factor, queries.T.astype(np.float64)).T, works)


class DualKernel:
    """The kernel from inner products alone, for any λ: one eigendecomposition of ΦΦᵀ.

    gram: ΦΦᵀ (N, N). Raises InvalidInput when it is not square, all 0, or holds what is no number.
    """

    def __init__(self, gram: NDArray[np.float64]) -> None:
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
            raise InvalidInput(f"inner products of works have shape {gram.shape}; give (N, N)")
        self._mean = _mean_eigenvalue(gram, len(gram))
        self._lengths = np.sqrt(np.diag(gram))
        self._values, self._vectors = _eigen(gram)

    def scores(
        self, products: NDArray[np.float64], regularisation: float, divisor: TrakDivisor = "one"
    ) -> _Matrix:
        """(Q, N) from the queries' inner products with the works (Q, N).

        Raises InvalidInput for another number of works, λ not above 0, or a divisor that there is not.
        """
        if products.ndim != 2 or products.shape[1] != len(self._vectors):
            raise InvalidInput(
                f"products of shape {products.shape} given; they are (Q, {len(self._vectors)}) here"
            )
        damped = self._values + _positive(regularisation) * self._mean
        solved = (products @ self._vectors / damped) @ self._vectors.T
        return _divided(solved, self._divisors(damped, divisor))

    def leverages(self, regularisation: float) -> _Matrix:
        """The diagonal of ΦΦᵀ (ΦΦᵀ + λ)⁻¹, each from 0 to 1: (N,). Raises InvalidInput for λ not above 0."""
        damped = self._values + _positive(regularisation) * self._mean
        leverages: _Matrix = self._vectors**2 @ (self._values / damped)
        return leverages

    def _divisors(self, damped: _Matrix, divisor: TrakDivisor) -> _Matrix:
        """(N,): 1 or the work's length, or that of its solution: its square is a diagonal number of
        (G + λ)⁻¹ G (G + λ)⁻¹ with G = ΦΦᵀ.
        """
        if divisor == "one":
            return np.ones(len(self._vectors))
        if divisor == "renormalised":
            return self._lengths
        if divisor == "relative":
            return np.sqrt(self._vectors**2 @ (self._values / damped**2))
        raise InvalidInput(
            f"divisor {divisor!r} is none of {', '.join(get_args(TrakDivisor))}", field="divisor"
        )


class TrakKernel:
    """The kernel of these works' features (N, k), for any λ: one eigendecomposition, of the smaller side.

    Raises InvalidInput when features are all 0 or no numbers.
    """

    def __init__(self, works: _Rows) -> None:
        _refuse_unlike(works, works)
        self._works = works
        self._dual = DualKernel(_products(works, works)) if len(works) <= works.shape[1] else None
        if self._dual is None:
            covariance = _products(works.T, works.T)
            self._mean = _mean_eigenvalue(covariance, len(works))
            self._values, self._vectors = _eigen(covariance)

    def scores(self, queries: _Rows, regularisation: float) -> _Matrix:
        """(Q, k) -> (Q, N). Raises InvalidInput for another width or λ not above 0."""
        _refuse_unlike(queries, self._works)
        if self._dual is not None:
            return self._dual.scores(_products(queries, self._works), regularisation)
        damped = self._values + _positive(regularisation) * self._mean
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
    """Eigenvalues, none below 0 by rounding, and vectors in columns."""
    values, vectors = scipy.linalg.eigh(gram)
    return np.maximum(values, 0.0), vectors


def _divided(scores: _Matrix, divisors: _Matrix) -> _Matrix:
    """A work without a gradient scores 0."""
    return np.divide(scores, divisors, out=np.zeros_like(scores), where=divisors > 0)


def _absolute(regularisation: float, gram: _Matrix, works: int) -> float:
    return _positive(regularisation) * _mean_eigenvalue(gram, works)


def _mean_eigenvalue(gram: _Matrix, works: int) -> float:
    """Of ΦΦᵀ, from it or from ΦᵀΦ, whose trace is the same."""
    mean = float(np.trace(gram)) / works if works else 0.0
    if not mean > 0 or not np.isfinite(gram).all():
        raise InvalidInput(
            f"the mean squared length of {works} works' features is {mean}; give features that are finite and"
            " not all 0"
        )
    return mean


def _positive(regularisation: float) -> float:
    if not regularisation > 0:
        raise InvalidInput(
            f"regularisation {regularisation} leaves nothing to invert by; give one above 0, such as 1",
            field="regularisation",
        )
    return regularisation


def _refuse_unlike(queries: _Rows, works: _Rows) -> None:
    if queries.ndim != 2 or works.ndim != 2 or queries.shape[1] != works.shape[1]:
        raise InvalidInput(
            f"queries of shape {queries.shape} do not fit works of shape {works.shape};"
            " give (Q, k) and (N, k) from one projection"
        )
