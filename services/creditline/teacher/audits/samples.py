"""Which works an audit scores: all that were listed, and a uniform random sample of the rest."""

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
    """A work as it was served. `expected_influence` is None for copies, which share their group's line."""

    id: str
    expected_influence: float | None


@dataclass(frozen=True)
class AuditSample:
    """Corpus rows to score: the served works in served order, and those drawn from the `others`."""

    listed: tuple[int, ...]
    drawn: tuple[int, ...]
    others: int


def served_works(answer: Mapping[str, Any]) -> tuple[ServedWork, ...]:
    """The works of a stored answer, best first, each followed by its copies."""
    served = []
    for work in answer["works"]:
        served.append(ServedWork(str(work["id"]), float(work["expected_influence"])))
        served += [ServedWork(str(copy), None) for copy in work["copies"]]
    return tuple(served)


def audit_seed(attribution_id: str) -> int:
    """The seed of everything random in an attribution's audit, so that a repeated audit is the same one."""
    return int.from_bytes(hashlib.sha256(attribution_id.encode()).digest()[:_SEED_BYTES], "big")


def draw_sample(
    corpus: Corpus,
    served: Sequence[ServedWork],
    *,
    size: int,
    seed: int,
    withdrawn: Withdrawn = NOTHING_WITHDRAWN,
) -> AuditSample:
    """Draw `size` of the works that were not served, uniformly without replacement; all if there are fewer.

    What is withdrawn cannot be served: it is not among the others, and never counts as missed. What was
    served before it was withdrawn is scored like any served work. Raises NotFound when a served work is not
    in the corpus.
    """
    listed = tuple(corpus.row(work.id) for work in served)
    if len(set(listed)) != len(listed):
        raise NotFound("the answer lists the same work twice and cannot be judged", field="works")
    left_out = [row for row, work in enumerate(corpus) if withdrawn.leaves_out(work)]
    others = np.setdiff1d(np.arange(len(corpus)), np.array([*listed, *left_out], dtype=np.int64))
    drawn = np.random.default_rng(seed).choice(others, min(size, len(others)), replace=False)
    return AuditSample(listed, tuple(int(row) for row in drawn), len(others))
