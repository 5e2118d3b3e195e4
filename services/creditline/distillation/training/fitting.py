"""Trains the encoder on labels: which of several plans is best is decided on training queries set aside."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from creditline.device_setting import CPU
from creditline.devices import torch_device
from creditline.distillation.training.losses import DistillationLoss, Lists, LossKind
from creditline.encoder.encoder import WIDTH, Encoder, EncoderShape, Projection, Side
from creditline.errors import InvalidInput
from creditline.evaluation.agreement import ndcg_at_k
from creditline.towers.parts import Parts

NDCG_DEPTH = 100
# Raw features are mixed with these weights of image and layout before training; the rest is text.
_MIX_WEIGHTS = (0.0, 0.15, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True, eq=False)
class Examples:
    """Training queries and all works, as features, with the teacher's influence.

    queries: (Q, F); works: (N, F); influence: (Q, N), all float32. weights: (Q, N), how many works of the
    corpus each labelled one stands for, 0 where there is no label; None: every work is labelled.
    """

    queries: NDArray[np.float32]
    works: NDArray[np.float32]
    influence: NDArray[np.float32]
    parts: Parts
    weights: NDArray[np.float32] | None = None

    def rows(self, rows: NDArray[np.intp]) -> Examples:
        """The named queries with all works."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, queries=self.queries[rows], influence=self.influence[rows], weights=weights)

    def ndcg(self, scores: NDArray[np.float32]) -> float:
        """Mean nDCG@100 of scores, (Q, N), over works that are labelled."""
        if self.weights is None:
            return ndcg_of(scores, self.influence)
        labelled = [row > 0.0 for row in self.weights]
        triples = zip(scores, self.influence, labelled, strict=True)
        return float(np.mean([ndcg_at_k(row[seen], truth[seen], NDCG_DEPTH) for row, truth, seen in triples]))


@dataclass(frozen=True)
class TrainingPlan:
    """How to train. Each step takes some queries and one set of works, drawn for all of them.

    `top_draws` works are drawn from each query's first `top_fraction`, the rest from everywhere.
    `feature_noise` is the length of the noise that is added to each part (of length 1). Averaged weights
    are kept and judged. `nested`: smaller widths at which the first numbers of a vector must do as well
    (Matryoshka, arXiv 2205.13147).
    """

    loss: LossKind = LossKind.LISTWISE
    softness: float = 1.0
    epochs: int = 60
    patience: int = 10
    queries_per_step: int = 32
    works_per_step: int = 512
    top_draws: int = 8
    top_fraction: float = 0.1
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    feature_noise: float = 0.3
    average_decay: float = 0.97
    hidden: int = 768
    layers: int = 3
    dropout: float = 0.1
    reduced: int = 0
    separate: bool = False
    width: int = WIDTH
    nested: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Trained:
    """An encoder, with the agreement that its plan reached on queries set aside, before and after
    training.
    """

    encoder: Encoder
    plan: TrainingPlan
    epochs: int
    validation_ndcg: float
    start_ndcg: float
    seconds: float


def train_encoder(
    examples: Examples,
    plans: Sequence[TrainingPlan],
    *,
    seed: int,
    validation_fraction: float = 0.15,
    device: str = CPU,
    report: Callable[[str], None] = lambda line: None,
) -> Trained:
    """Train by each plan on most queries, and by the best one, for as long as it got better, on all of them.

    device: where the encoder is trained; the one that is returned is on the processor. Draws are made on the
    processor, so that a seed gives the same ones on every device.

    Raises InvalidInput when there are too few queries to set any aside.
    """
    started, where = time.perf_counter(), torch_device(device)
    kept, aside = _set_aside(len(examples.queries), validation_fraction, seed)
    tried = []
    for plan in plans:
        run = _Run(examples.rows(kept), plan, seed, where)
        start = mean_ndcg(run.averaged, examples.rows(aside))
        epochs, reached = _until_worse(run, examples.rows(aside), report)
        report(
            f"{plan.loss.value}, softness {plan.softness:g}:"
            f" nDCG@100 {start:.4f} -> {reached:.4f}, epoch {epochs}"
        )
        tried.append((reached, epochs, start, plan))
    reached, epochs, start, plan = max(tried, key=lambda entry: entry[0])
    run = _Run(examples, plan, seed, where)
    for _ in range(epochs):
        run.epoch()
    report(f"trained again on all {len(examples.queries)} queries: {plan.loss.value}, {epochs} epochs")
    trained = run.averaged.to(CPU).rounded()
    return Trained(trained, plan, epochs, reached, start, time.perf_counter() - started)


def mean_ndcg(encoder: Encoder, examples: Examples) -> float:
    """Mean nDCG@100 of the encoder's cosines over the examples' queries."""
    return examples.ndcg(encoder_scores(encoder, examples.queries, examples.works))


def ndcg_of(scores: NDArray[np.float32], influence: NDArray[np.float32]) -> float:
    """Mean nDCG@100. scores, influence: (Q, N)."""
    pairs = zip(scores, influence, strict=True)
    return float(np.mean([ndcg_at_k(row, truth, NDCG_DEPTH) for row, truth in pairs]))


def encoder_scores(
    encoder: Encoder, queries: NDArray[np.float32], works: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Cosines: (Q, N) float32."""
    return encoder.encode_features(queries, Side.QUERY) @ encoder.encode_features(works, Side.WORK).T


@dataclass(frozen=True)
class Mix:
    """How raw features are weighed before any training: image, layout (the rest text), centring."""

    image: float
    layout: float
    centred: bool

    @classmethod
    def grid(cls) -> tuple[Mix, ...]:
        """All mixes that are tried."""
        drawn = itertools.product(_MIX_WEIGHTS, _MIX_WEIGHTS, (False, True))
        return tuple(cls(image, layout, centred) for image, layout, centred in drawn if image + layout <= 1.0)

    def scales(self, parts: Parts) -> NDArray[np.float32]:
        """What each feature is multiplied by: (F,)."""
        weights = np.maximum([self.image, self.layout, 1.0 - self.image - self.layout], 0.0)
        scales: NDArray[np.float32] = np.repeat(np.sqrt(weights), list(parts.widths.values())).astype(
            np.float32
        )
        return scales


def best_mix(examples: Examples) -> Mix:
    """The mix of raw features whose cosine agrees best with the labels."""
    fitting = [mix for mix in Mix.grid() if mix.layout == 0.0 or examples.parts.layout]
    return max(fitting, key=lambda mix: examples.ndcg(_mixed_cosines(mix, examples)))


def _mixed_cosines(mix: Mix, examples: Examples) -> NDArray[np.float32]:
    scales = mix.scales(examples.parts)
    queries, works = examples.queries * scales, examples.works * scales
    if mix.centred:
        mean = works.mean(axis=0)
        queries, works = queries - mean, works - mean
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    cosines: NDArray[np.float32] = queries @ (works / np.linalg.norm(works, axis=1, keepdims=True)).T
    return cosines


def start_projection(examples: Examples, width: int) -> Projection:
    """Where the linear path starts: the principal directions of the best mix."""
    mix = best_mix(examples)
    scales = mix.scales(examples.parts)
    return Projection.principal(examples.works, width, scales=scales, centred=mix.centred)


def _set_aside(count: int, fraction: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    aside = round(count * fraction)
    if not 0 < aside < count:
        raise InvalidInput(
            f"{count} training queries leave none to judge the training by; label more", field="queries"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[aside:]), np.sort(order[:aside])


def _until_worse(run: _Run, aside: Examples, report: Callable[[str], None]) -> tuple[int, float]:
    """Train until nothing got better for a while; returns the best epoch (0: none helped) and its nDCG."""
    best_epoch, best = 0, mean_ndcg(run.averaged, aside)
    for epoch in range(1, run.plan.epochs + 1):
        loss = run.epoch()
        reached = mean_ndcg(run.averaged, aside)
        if reached > best:
            best_epoch, best = epoch, reached
        if epoch % 10 == 0:
            report(f"  {run.plan.loss.value} epoch {epoch}: loss {loss:.4f}, nDCG@100 {reached:.4f}")
        if epoch - best_epoch >= run.plan.patience:
            break
    return best_epoch, best


class _Run:
    """One training: encoder, averaged encoder, optimiser, and the draws of a seed.

    Models, features and labels are on the device; rows are drawn on the processor.
    """

    def __init__(self, examples: Examples, plan: TrainingPlan, seed: int, device: torch.device) -> None:
        self.plan = plan
        self._device = device
        shape = EncoderShape(
            examples.works.shape[1],
            plan.width,
            plan.hidden,
            plan.layers,
            plan.dropout,
            plan.reduced,
            plan.separate,
        )
        projection = start_projection(examples, plan.reduced or plan.width)
        self.encoder = Encoder.initial(shape, projection, seed=seed).to(device)
        self.averaged = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        self._loss = DistillationLoss(plan.loss, softness=plan.softness).to(device)
        self._queries = torch.from_numpy(examples.queries).to(device)
        self._works = torch.from_numpy(examples.works).to(device)
        weights = None if examples.weights is None else torch.from_numpy(examples.weights)
        # Sorted on the processor, so that ties come in the same order on every device.
        lists = Lists.of(torch.from_numpy(examples.influence), weights)
        self._lists = lists.to(device)
        self._widths = torch.tensor(list(examples.parts.widths.values()))
        self._random = torch.Generator().manual_seed(seed)
        self._top = max(1, round(plan.top_fraction * len(self._works)))
        self._best_first = lists.standardised.argsort(dim=1, descending=True)[:, : self._top]
        parameters = [
            parameter
            for part in (self.encoder, self._loss)
            for parameter in part.parameters()
            if parameter.requires_grad
        ]
        self._optimizer = torch.optim.AdamW(parameters, plan.learning_rate, weight_decay=plan.weight_decay)

    def epoch(self) -> float:
        """Every query once; returns the mean loss."""
        self.encoder.train()
        order = torch.randperm(len(self._queries), generator=self._random)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=self._random)))
            losses = [self._step(rows) for rows in order.split(self.plan.queries_per_step)]
        return float(np.mean(losses))

    def _step(self, queries: Tensor) -> float:
        works = self._drawn_works(queries).to(self._device)
        queries = queries.to(self._device)
        of_queries = self.encoder.directions(self._noisy(self._queries[queries]), Side.QUERY)
        of_works = self.encoder.directions(self._noisy(self._works[works]), Side.WORK)
        lists = self._lists.part(queries, works)
        widths = (self.plan.width, *self.plan.nested)
        losses = [self._loss(cosines(of_queries[:, :width], of_works[:, :width]), lists) for width in widths]
        loss = torch.stack(losses).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._average()
        return float(loss.detach())

    def _drawn_works(self, queries: Tensor) -> Tensor:
        """Rows of works, on the processor: some of each query's most influential, and from everywhere."""
        plan, count = self.plan, len(self._works)
        if plan.works_per_step >= count:
            return torch.arange(count)
        picks = torch.randint(self._top, (len(queries), plan.top_draws), generator=self._random)
        top = self._best_first[queries].gather(1, picks).flatten()
        anywhere = torch.randperm(count, generator=self._random)
        return _first_distinct(torch.cat([top, anywhere]), plan.works_per_step)

    def _noisy(self, features: Tensor) -> Tensor:
        """Each part with noise of about the plan's length."""
        widths = self._widths.repeat_interleave(self._widths)
        noise = torch.randn(features.shape, generator=self._random)
        return features + (self.plan.feature_noise * noise / widths.sqrt()).to(features.device)

    def _average(self) -> None:
        with torch.no_grad():
            for kept, new in zip(self.averaged.parameters(), self.encoder.parameters(), strict=True):
                kept.lerp_(new, 1.0 - self.plan.average_decay)


def cosines(queries: Tensor, works: Tensor) -> Tensor:
    """(Q, D), (W, D) of any length -> (Q, W)."""
    return nn.functional.normalize(queries, dim=1) @ nn.functional.normalize(works, dim=1).T


def _first_distinct(rows: Tensor, count: int) -> Tensor:
    """The first `count` different rows, in order of appearance."""
    distinct = dict.fromkeys(rows.tolist())
    return torch.tensor(list(distinct)[:count])
