"""What the lab retrains: its works, subsets, seeds and queries, all drawn from one seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.texts import mixed_caption
from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws

# The same pairs of timestep and noise for every model; noise belongs to the query.
LOSS_DRAWS = Draws(timesteps=20, repeats=2, salt="lab", mirrored=True)


@dataclass(frozen=True)
class LabPlan:
    """Sizes and seeds of a lab. `epochs`: how often a model sees each of its works, on average."""

    works: int = 500
    subsets: int = 64
    seeds: int = 2
    epochs: int = 40
    batch: int = 16
    learning_rate: float = 8e-4
    caption_queries: int = 64
    mixed_queries: int = 32
    held_out_queries: int = 64
    seed: int = 20261126

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> LabPlan:
        return cls(**content)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def steps(self, works: int) -> int:
        """Optimiser steps of a model of that many works."""
        return round(works * self.epochs / self.batch)


@dataclass(frozen=True)
class LabQuery:
    """A query of the lab. kind: "generated" (by the lab's own generator) or "heldout" (a real work).

    seed: of the generated picture; for a real work it has no meaning and is -1.
    """

    id: str
    kind: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class ModelJob:
    """One model to train: on which of the lab's works (rows), from which seed."""

    name: str
    rows: tuple[int, ...]
    seed: int


def draw_works(corpus: Corpus, plan: LabPlan) -> tuple[Corpus, Corpus]:
    """The lab's works and the real works that it holds out as queries.

    One work of each duplicate group at most, over both: leaving a work out must leave its copies out too.
    Raises InvalidInput when the corpus has too few groups.
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
            f"the lab needs {plan.works + plan.held_out_queries} works without copies;"
            f" corpus {corpus.name!r} has {len(ids)}",
            field="works",
        )
    works = corpus.subset(ids[: plan.works], name=f"{corpus.name}-lab")
    held_out = corpus.subset(ids[plan.works :][: plan.held_out_queries], name=f"{corpus.name}-lab-heldout")
    return works, held_out


def draw_subsets(plan: LabPlan) -> NDArray[np.bool_]:
    """Random halves of the works: (subsets, works) bool."""
    random = np.random.default_rng(plan.seed + 1)
    subsets = np.zeros((plan.subsets, plan.works), dtype=bool)
    for row in subsets:
        row[random.permutation(plan.works)[: plan.works // 2]] = True
    return subsets


def draw_queries(works: Corpus, held_out: Corpus, plan: LabPlan) -> list[LabQuery]:
    """Generated queries by captions of single works, then by two works' titles, then the held-out works."""
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
    """All models of the subsets, subset by subset, so that a lab that was stopped holds whole subsets."""
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
    """The model of all works: the generator whose pictures are attributed."""
    return ModelJob(name="whole-0", rows=tuple(range(plan.works)), seed=0)
