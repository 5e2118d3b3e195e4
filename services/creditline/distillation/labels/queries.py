"""Queries to distil from: prompts that resemble what is served."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.texts import mixed_caption
from creditline.corpus.works import Corpus, Work
from creditline.distillation.labels.label_set import HELD_OUT, TRAIN
from creditline.errors import InvalidInput, NotReady
from creditline.generator.pipeline import GUIDANCE


@dataclass(frozen=True)
class PlannedQuery:
    """A picture to be made: its prompt, its seed, and which split it belongs to ("train", "heldout" or
    "transfer")."""

    prompt: str
    seed: int
    split: str
    guidance: float = GUIDANCE


def plan_queries(
    corpus: Corpus, *, training: int, held_out: int, mixed_fraction: float, seed: int
) -> list[PlannedQuery]:
    """Prompts from captions and from mixing two works' titles.

    The splits share no work, no prompt and no seed.
    Raises InvalidInput when the corpus is too small for that many prompts.
    """
    needed = int((training + held_out) * (1.0 + mixed_fraction)) + 2
    if needed > len(corpus):
        raise InvalidInput(
            f"{training + held_out} queries need {needed} works to draw prompts from; "
            f"the corpus has {len(corpus)}",
            field="training",
        )
    random = np.random.default_rng(seed)
    order = [corpus.works[int(row)] for row in random.permutation(len(corpus))]
    planned: list[PlannedQuery] = []
    seen: set[str] = set()
    for split, count in ((HELD_OUT, held_out), (TRAIN, training)):
        made = 0
        while made < count:
            prompt = _next_prompt(order, mixed=random.random() < mixed_fraction)
            if prompt.casefold() in seen:
                continue
            seen.add(prompt.casefold())
            planned.append(PlannedQuery(prompt, seed=seed * 100_000 + len(planned), split=split))
            made += 1
    return planned


def _next_prompt(order: list[Work], *, mixed: bool) -> str:
    """Use up one work, or two."""
    if len(order) < 2:
        raise InvalidInput("no works are left to draw prompts from; ask for fewer queries", field="training")
    first = order.pop()
    return mixed_caption(first.title, order.pop().title) if mixed else first.caption


def plan_more(
    corpus: Corpus,
    *,
    count: int,
    mixed_fraction: float,
    guidances: Sequence[float],
    spared: Collection[str],
    seed: int,
) -> list[PlannedQuery]:
    """Training queries from a small corpus: works are used again, in other pairs and from other seeds.

    Guidances take turns. spared: prompts that others are judged by, which none of these has.
    Raises InvalidInput when they leave nothing to draw from.
    """
    spared = {prompt.casefold() for prompt in spared}
    singles = [work.caption for work in corpus if work.caption.casefold() not in spared]
    if not singles or len(corpus) < 2:
        raise InvalidInput("no prompt is left to draw; spare fewer", field="spared")
    random = np.random.default_rng(seed)
    order: list[str] = []
    planned: list[PlannedQuery] = []
    while len(planned) < count:
        if random.random() < mixed_fraction:
            first, second = random.choice(len(corpus), 2, replace=False)
            prompt = mixed_caption(corpus.works[int(first)].title, corpus.works[int(second)].title)
        else:
            order = order or [singles[int(row)] for row in random.permutation(len(singles))]
            prompt = order.pop()
        if prompt.casefold() not in spared:
            number = len(planned)
            guidance = guidances[number % len(guidances)]
            planned.append(PlannedQuery(prompt, seed * 100_000 + number, TRAIN, guidance))
    return planned


def read_prompts(path: Path) -> list[str]:
    """A prompt a line; empty lines and those that begin with # are passed over.

    Raises NotReady, InvalidInput.
    """
    if not path.is_file():
        raise NotReady(f"no prompts at {path}; write one a line", field="prompts")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    prompts = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not prompts:
        raise InvalidInput(f"{path} holds no prompt; write one a line", field="prompts")
    return prompts


def farthest_prompts(
    prompts: Sequence[str],
    of_prompts: NDArray[np.float32],
    of_captions: NDArray[np.float32],
    count: int,
) -> list[str]:
    """Those whose nearest caption is farthest: no work is close to what they ask for.

    of_prompts, of_captions: (P, F), (N, F) text features of length 1. Raises InvalidInput for too few.
    """
    if count > len(prompts):
        raise InvalidInput(f"{count} of {len(prompts)} prompts were asked for; write more", field="transfer")
    nearest = (of_prompts @ of_captions.T).max(axis=1)
    return [prompts[int(row)] for row in np.argsort(nearest, kind="stable")[:count]]


def plan_listed(
    prompts: Sequence[str], *, split: str, guidances: Sequence[float], seed: int
) -> list[PlannedQuery]:
    """A query for each prompt, guidances in turn."""
    return [
        PlannedQuery(prompt, seed * 100_000 + number, split, guidances[number % len(guidances)])
        for number, prompt in enumerate(prompts)
    ]
