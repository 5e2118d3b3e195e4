"""The works that an audit scores: all listed works, and a uniform random sample of the others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.corpus.works import Corpus
from creditline.errors import NotFound

_SEED_BYTES = 8


@dataclass(frozen=True)
class ServedWork:
    """A work of a served answer."""

    id: str
    """Id of the work."""
    expected_influence: float | None
    """Expected influence as served; None for copies, which share their group's line."""


@dataclass(frozen=True)
class AuditSample:
    """The works to score, as rows of the corpus."""

    listed: tuple[int, ...]
    """Rows of the served works, in served order."""
    drawn: tuple[int, ...]
    """Rows sampled from the works that were not served."""
    others: int
    """Number of works that were not served."""


def served_works(answer: Mapping[str, Any]) -> tuple[ServedWork, ...]:
    """The works of a stored answer, best first, each followed by its copies."""
    served = []
    for work in answer["works"]:
        served.append(ServedWork(str(work["id"]), float(work["expected_influence"])))
        served += [ServedWork(str(copy), None) for copy in work["copies"]]
    return tuple(served)


def audit_seed(attribution_id: str) -> int:
    """Seed of an attribution's audit, derived from its id, so that a repetition draws the same numbers."""
    return int.from_bytes(hashlib.sha256(attribution_id.encode()).digest()[:_SEED_BYTES], "big")


def draw_sample(
    corpus: Corpus,
    served: Sequence[ServedWork],
    *,
    size: int,
    seed: int,
    withdrawn: Withdrawn = NOTHING_WITHDRAWN,
) -> AuditSample:
    """Draw a sample of the works that were not served, uniformly without replacement.

    Withdrawn works cannot be served, so they are not among the others and never count as missed. A work that
    was served before its withdrawal is scored like any served work.

    Args:
        corpus: the generator's corpus.
        served: the served works.
        size: size of the sample; all other works are drawn if there are fewer.
        seed: seed of the random draw.
        withdrawn: works that are withdrawn now.

    Raises:
        NotFound: A served work is not in the corpus, or is listed twice.
    """
    listed = tuple(corpus.row(work.id) for work in served)
    if len(set(listed)) != len(listed):
        raise NotFound("the answer lists the same work twice, so it cannot be audited", field="works")
    withdrawn_rows = [row for row, work in enumerate(corpus) if withdrawn.leaves_out(work)]
    others = np.setdiff1d(np.arange(len(corpus)), np.array([*listed, *withdrawn_rows], dtype=np.int64))
    drawn = np.random.default_rng(seed).choice(others, min(size, len(others)), replace=False)
    return AuditSample(listed, tuple(int(row) for row in drawn), len(others))
