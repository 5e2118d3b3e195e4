"""The plan of the lab: its works, subsets, seeds and queries, all drawn from one seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.texts import mixed_caption
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws

# Every model is evaluated on the same timesteps and noise; the noise depends on the query alone.
LOSS_DRAWS = Draws(timesteps=20, repeats=2, salt="lab", mirrored=True)


@dataclass(frozen=True)
class LabPlan:
    """Sizes and seeds of a lab."""

    works: int = 500
    """Number of works, all from different duplicate groups."""
    subsets: int = 64
    """Number of random halves of the works."""
    seeds: int = 2
    """Number of models trained on each subset, from different seeds."""
    epochs: int = 40
    """Average number of times that a model sees each of its works."""
    batch: int = 16
    """Works per optimiser step."""
    learning_rate: float = 8e-4
    """Peak learning rate."""
    caption_queries: int = 64
    """Generated queries prompted with the caption of one work."""
    mixed_queries: int = 32
    """Generated queries prompted with the titles of two works."""
    held_out_queries: int = 64
    """Queries that are real works on which no model is trained."""
    seed: int = 20261126
    """Seed of all draws of the plan."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> LabPlan:
        """Restore a plan from the output of `to_json`."""
        return cls(**content)

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values."""
        return asdict(self)

    def steps(self, works: int) -> int:
        """Number of optimiser steps of a model that is trained on `works` works."""
        return round(works * self.epochs / self.batch)


@dataclass(frozen=True)
class LabQuery:
    """A query of the lab."""

    id: str
    """Id of the query."""
    kind: str
    """"generated" (a picture by the lab's own generator) or "heldout" (a real work)."""
    prompt: str
    """Prompt of the generated picture, or caption of the work."""
    seed: int
    """Seed of the generated picture; -1 for a real work."""


@dataclass(frozen=True)
class ModelJob:
    """One model to train."""

    name: str
    """Name of the model, used in file names."""
    rows: tuple[int, ...]
    """Rows of the lab's works on which the model is trained."""
    seed: int
    """Seed of initialisation and batches."""


def draw_works(corpus: Corpus, plan: LabPlan) -> tuple[Corpus, Corpus]:
    """Draw the lab's works and the real works that are held out as queries.

    Both together hold at most one work of each duplicate group, because leaving out a work must also leave
    out its copies.

    Args:
        corpus: The corpus to draw from.
        plan: Sizes and seed.

    Returns:
        The lab's works, and the held-out works.

    Raises:
        InvalidInput: The corpus has too few duplicate groups.
    """
    order = np.random.default_rng(plan.seed).permutation(len(corpus))
    ids: list[str] = []
    groups: set[str] = set()
    for work in (corpus.works[int(row)] for row in order):
        if work.duplicate_group not in groups:
            groups.add(work.duplicate_group)
            ids.append(work.id)
    if len(ids) < plan.works + plan.held_out_queries:
        raise InvalidInput(
            f"the lab needs {plan.works + plan.held_out_queries} works without copies, but corpus"
            f" {corpus.name!r} has only {len(ids)}; use a larger corpus or a smaller plan",
            field="works",
        )
    works = corpus.subset(ids[: plan.works], name=f"{corpus.name}-lab")
    held_out = corpus.subset(ids[plan.works :][: plan.held_out_queries], name=f"{corpus.name}-lab-heldout")
    return works, held_out


def draw_subsets(plan: LabPlan) -> NDArray[np.bool_]:
    """Random halves of the works: (subsets, works) bool, true where a subset holds a work."""
    random = np.random.default_rng(plan.seed + 1)
    subsets = np.zeros((plan.subsets, plan.works), dtype=bool)
    for row in subsets:
        row[random.permutation(plan.works)[: plan.works // 2]] = True
    return subsets


def draw_queries(works: Corpus, held_out: Corpus, plan: LabPlan) -> list[LabQuery]:
    """All queries of the lab, in order.

    First come the pictures generated from captions of single works, then those generated from the titles of
    two works, then the held-out works.
    """
    random = np.random.default_rng(plan.seed + 2)
    order = [works.works[int(row)] for row in random.permutation(len(works))]
    singles, rest = order[: plan.caption_queries], order[plan.caption_queries :]
    pairs = zip(rest[0::2], rest[1::2], strict=False)
    prompts = [work.caption for work in singles]
    prompts += [mixed_caption(first.title, second.title) for first, second in pairs][: plan.mixed_queries]
    generated = [
        LabQuery(f"generated-{number:03d}", "generated", prompt, plan.seed + number)
        for number, prompt in enumerate(prompts)
    ]
    real = [LabQuery(f"heldout-{work.id}", "heldout", work.caption, -1) for work in held_out]
    return generated + real


def subset_jobs(plan: LabPlan) -> list[ModelJob]:
    """The models of all subsets, subset by subset, so that an interrupted lab holds complete subsets."""
    subsets = draw_subsets(plan)
    return [
        ModelJob(
            name=f"subset-{number:03d}-{seed}",
            rows=tuple(int(row) for row in np.flatnonzero(subsets[number])),
            seed=1_000 + number * plan.seeds + seed,
        )
        for number in range(plan.subsets)
        for seed in range(plan.seeds)
    ]


def whole_job(plan: LabPlan) -> ModelJob:
    """The model trained on all works: the generator whose pictures are attributed."""
    return ModelJob(name="whole-0", rows=tuple(range(plan.works)), seed=0)
