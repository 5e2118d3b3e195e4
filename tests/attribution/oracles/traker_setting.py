"""Cases for traker: scores of random gradients, with more works than dimensions and the reverse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ORACLE = Path(__file__).with_name("traker.safetensors")


@dataclass(frozen=True)
class Case:
    """works: N; queries: Q; size: k; regularisation: traker's absolute λ."""

    works: int
    queries: int
    size: int
    regularisation: float

    def __str__(self) -> str:
        return f"{self.works}-{self.queries}-{self.size}-{self.regularisation}"

    def gradients(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, k) and (Q, k) float32."""
        random = np.random.default_rng([self.works, self.queries, self.size])
        shapes = ((self.works, self.size), (self.queries, self.size))
        works, queries = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
        return works, queries


CASES = (Case(20, 3, 6, 0.5), Case(20, 3, 6, 20.0), Case(8, 2, 30, 5.0))
