"""Plans of queries for distillation, with prompts that resemble served queries."""

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
    """A picture to be generated."""

    prompt: str
    """Prompt of the picture."""
    seed: int
    """Seed of the sampler."""
    split: str
    """"train", "heldout" or "transfer"."""
    guidance: float = GUIDANCE
    """Scale of classifier-free guidance."""


def plan_queries(
    corpus: Corpus, *, training: int, held_out: int, mixed_fraction: float, seed: int
) -> list[PlannedQuery]:
    """Plan held-out and training queries, with captions of works or mixed titles of two works as prompts.

    The splits share no work, no prompt and no seed.

    Args:
        corpus: Works whose captions and titles are used, each at most once.
        training: Number of training queries.
        held_out: Number of held-out queries.
        mixed_fraction: Probability that a prompt mixes two titles.
        seed: Seed of the draws; the queries' seeds are derived from it.

    Raises:
        InvalidInput: The corpus has too few works.
    """
    needed = int((training + held_out) * (1.0 + mixed_fraction)) + 2
    if needed > len(corpus):
        raise InvalidInput(
            f"{training + held_out} queries need {needed} works to draw prompts from, but the corpus has"
            f" {len(corpus)}; plan fewer queries",
            field="training",
        )
    random = np.random.default_rng(seed)
    order = [corpus.works[int(row)] for row in random.permutation(len(corpus))]
    planned: list[PlannedQuery] = []
    seen: set[str] = set()
    for split, count in ((HELD_OUT, held_out), (TRAIN, training)):
        drawn = 0
        while drawn < count:
            prompt = _next_prompt(order, mixed=random.random() < mixed_fraction)
            if prompt.casefold() in seen:
                continue
            seen.add(prompt.casefold())
            planned.append(PlannedQuery(prompt, seed=seed * 100_000 + len(planned), split=split))
            drawn += 1
    return planned


def _next_prompt(order: list[Work], *, mixed: bool) -> str:
    """A prompt from the last work of `order`, or from the last two, which are removed."""
    if len(order) < 2:
        raise InvalidInput("no works are left to draw prompts from; plan fewer queries", field="training")
    first = order.pop()
    return mixed_caption(first.title, order.pop().title) if mixed else first.caption


def plan_more(
    corpus: Corpus,
    *,
    count: int,
    mixed_fraction: float,
    guidances: Sequence[float],
    excluded: Collection[str],
    seed: int,
) -> list[PlannedQuery]:
    """Plan training queries from a small corpus: works are used repeatedly, in new pairs and with new seeds.

    Args:
        corpus: Works whose captions and titles are used.
        count: Number of queries.
        mixed_fraction: Probability that a prompt mixes two titles.
        guidances: Guidance scales, used in turn.
        excluded: Prompts of evaluation queries, which are not used.
        seed: Seed of the draws; the queries' seeds are derived from it.

    Raises:
        InvalidInput: No prompt is left to draw, or the corpus has fewer than two works.
    """
    excluded = {prompt.casefold() for prompt in excluded}
    singles = [work.caption for work in corpus if work.caption.casefold() not in excluded]
    if not singles or len(corpus) < 2:
        raise InvalidInput(
            "every caption is reserved for evaluation, or the corpus has fewer than two works; spare fewer"
            " prompts",
            field="excluded",
        )
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
        if prompt.casefold() not in excluded:
            number = len(planned)
            guidance = guidances[number % len(guidances)]
            planned.append(PlannedQuery(prompt, seed * 100_000 + number, TRAIN, guidance))
    return planned


def read_prompts(path: Path) -> list[str]:
    """Read a file with one prompt per line; empty lines, comments (#) and repeated prompts are skipped.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file holds no prompt.
    """
    if not path.is_file():
        raise NotReady(
            f"there is no file of prompts at {path}; write one with one prompt per line", field="prompts"
        )
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    prompts = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not prompts:
        raise InvalidInput(f"{path} holds no prompt; write one prompt per line", field="prompts")
    return prompts


def farthest_prompts(
    prompts: Sequence[str],
    prompt_features: NDArray[np.float32],
    caption_features: NDArray[np.float32],
    count: int,
) -> list[str]:
    """The prompts whose nearest caption is farthest, so that no work is close to them.

    Args:
        prompts: P prompts.
        prompt_features: (P, F) float32, L2-normalised text features of the prompts.
        caption_features: (N, F) float32, L2-normalised text features of the works' captions.
        count: Number of prompts to select.

    Returns:
        The selected prompts, farthest first.

    Raises:
        InvalidInput: There are fewer than `count` prompts.
    """
    if count > len(prompts):
        raise InvalidInput(
            f"{count} transfer prompts are needed, but the file has {len(prompts)}; write more, or lower"
            " queries.transfer_count",
            field="transfer",
        )
    nearest = (prompt_features @ caption_features.T).max(axis=1)
    return [prompts[int(row)] for row in np.argsort(nearest, kind="stable")[:count]]


def plan_listed(
    prompts: Sequence[str], *, split: str, guidances: Sequence[float], seed: int
) -> list[PlannedQuery]:
    """Plan one query for each prompt.

    Args:
        prompts: The prompts.
        split: Split of all queries.
        guidances: Guidance scales, used in turn.
        seed: Seed that the queries' seeds are derived from.
    """
    return [
        PlannedQuery(prompt, seed * 100_000 + number, split, guidances[number % len(guidances)])
        for number, prompt in enumerate(prompts)
    ]
