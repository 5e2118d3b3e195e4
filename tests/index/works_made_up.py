"""Works with random vectors, and brute-force search as the oracle of the index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from creditline.index import WorkPoint

WIDTH = 32
CONTRIBUTORS = ("ada", "ben", "cleo", "dora")
CONSENT: tuple[tuple[str, ...], ...] = (
    (),
    ("generative_training=prohibited", "training=prohibited"),
    ("generative_training=allowed", "mining=allowed"),
    ("mining=constrained",),
    (),
)
# Every tenth work is withdrawn.
_WITHDRAWN_EVERY = 10


def unit_vectors(count: int, dimension: int = WIDTH, *, seed: int = 0) -> npt.NDArray[np.float32]:
    """(count, dimension) float32, rows of unit length."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def made_up_works(vectors: npt.NDArray[np.float32]) -> list[WorkPoint]:
    """One work per row of (N, D) float32 vectors; contributors alternate."""
    return [
        WorkPoint(
            work_id=f"work-{row}",
            vector=vector,
            contributor=CONTRIBUTORS[row % len(CONTRIBUTORS)],
            title=f"Title {row}",
            caption=f"Title {row}, with a caption",
            licence="Public Domain" if row % 3 else "CC BY",
            source=f"animals/{row}.png" if row % 2 else f"https://food.example/{row}.png",
            duplicate_group=f"work-{row - row % 3}",
            withdrawn=row % _WITHDRAWN_EVERY == 0,
            rights_holders=(("eve", 60.0), ("finn", 40.0)) if row % 5 == 0 else (),
            created=1_000 * row if row % 4 else None,
            consent=CONSENT[row % len(CONSENT)],
        )
        for row, vector in enumerate(vectors)
    ]


def brute_force(
    works: list[WorkPoint], query: npt.NDArray[np.float32], limit: int, contributor: str | None = None
) -> list[tuple[str, float]]:
    """Ids and cosines of the nearest works that are not withdrawn, best first."""
    listed = [w for w in works if not w.withdrawn and contributor in (None, w.contributor)]
    cosines = np.stack([w.vector for w in listed]) @ query
    best = np.argsort(-cosines, kind="stable")[:limit]
    return [(listed[row].work_id, float(cosines[row])) for row in best]
