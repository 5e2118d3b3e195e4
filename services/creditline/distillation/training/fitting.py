"""Training of the encoder on labels; the plan and the number of epochs are chosen on validation queries."""

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

from creditline.corpus.directions import unit_rows
from creditline.device_setting import CPU
from creditline.devices import torch_device
from creditline.distillation.training.losses import DistillationLoss, Lists, LossKind
from creditline.encoder.encoder import WIDTH, Encoder, EncoderShape, Projection, Side
from creditline.errors import InvalidInput
from creditline.evaluation.agreement import ndcg_at_k
from creditline.towers.parts import Parts

NDCG_DEPTH = 100
# Weights of image and of layout in the tried mixes of raw features; text has the rest of 1.
_MIX_WEIGHTS = (0.0, 0.15, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True, eq=False)
class Examples:
    """Training queries and all works as features, with the teacher's influence."""

    queries: NDArray[np.float32]
    """(Q, F) float32, joined features of the queries."""
    works: NDArray[np.float32]
    """(N, F) float32, joined features of the works."""
    influence: NDArray[np.float32]
    """(Q, N) float32, the teacher's influence."""
    parts: Parts
    """Parts of the joined features."""
    weights: NDArray[np.float32] | None = None
    """(Q, N) float32, number of works that each labelled work represents, 0 for works without a label; None:
    every work is labelled."""

    def rows(self, rows: NDArray[np.intp]) -> Examples:
        """Examples of some of the queries, by row number, with all works."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, queries=self.queries[rows], influence=self.influence[rows], weights=weights)

    def ndcg(self, scores: NDArray[np.float32]) -> float:
        """Mean nDCG@100 of scores (Q, N) over the queries; only labelled works count."""
        if self.weights is None:
            return ndcg_of(scores, self.influence)
        labelled = [row > 0.0 for row in self.weights]
        triples = zip(scores, self.influence, labelled, strict=True)
        return float(np.mean([ndcg_at_k(row[mask], truth[mask], NDCG_DEPTH) for row, truth, mask in triples]))


@dataclass(frozen=True)
class TrainingPlan:
    """Hyperparameters of a training.

    Each step uses some queries and one set of works, drawn for all of them. The encoder that is evaluated and
    returned has the exponential moving average of the weights.

    A plan's `repr` is part of the fingerprint of a run's stages: renaming or reordering fields invalidates
    the stages of earlier runs.
    """

    loss: LossKind = LossKind.LISTWISE
    """Loss between cosines and influence."""
    softness: float = 1.0
    """Temperature of the teacher's softmax in the listwise loss."""
    epochs: int = 60
    """Greatest number of epochs."""
    patience: int = 10
    """Epochs without improvement after which training stops."""
    queries_per_step: int = 32
    """Queries in a step."""
    works_per_step: int = 512
    """Works in a step."""
    top_draws: int = 8
    """Works drawn from each query's `top_fraction`; the others are drawn from all works."""
    top_fraction: float = 0.1
    """Fraction of most influential works that `top_draws` are drawn from."""
    learning_rate: float = 5e-4
    """Learning rate of AdamW."""
    weight_decay: float = 0.05
    """Weight decay of AdamW."""
    feature_noise: float = 0.3
    """Expected length of the Gaussian noise added to each part of the features, which has length 1."""
    average_decay: float = 0.97
    """Decay per step of the moving average of the weights."""
    hidden: int = 768
    """Units in each hidden layer."""
    layers: int = 3
    """Number of hidden layers."""
    dropout: float = 0.1
    """Dropout probability."""
    reduced: int = 0
    """Dimension of a fixed projection applied to the features first; 0: no projection."""
    separate: bool = False
    """Whether queries and works have separate heads."""
    width: int = WIDTH
    """Dimension of the vectors."""
    nested: tuple[int, ...] = ()
    """Smaller dimensions at which the first components of the vectors are trained by the same loss
    (Matryoshka, arXiv 2205.13147)."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained encoder, with the figures of its training."""

    encoder: Encoder
    """The encoder, on the CPU, with weights rounded to float16."""
    plan: TrainingPlan
    """The chosen plan."""
    epochs: int
    """Number of epochs, chosen on the validation queries."""
    validation_ndcg: float
    """nDCG@100 on the validation queries after training on the others."""
    start_ndcg: float
    """nDCG@100 on the validation queries before training."""
    seconds: float
    """Duration of all trainings, in seconds."""


def train_encoder(
    examples: Examples,
    plans: Sequence[TrainingPlan],
    *,
    seed: int,
    validation_fraction: float = 0.15,
    device: str = CPU,
    report: Callable[[str], None] = lambda line: None,
) -> Trained:
    """Choose plan and number of epochs on validation queries, then train on all queries.

    Each plan is trained on the queries that are not for validation, with early stopping; the best plan is
    then trained on all queries for its best number of epochs. Random draws are made on the CPU, so that a
    seed gives the same draws on every device.

    Args:
        examples: Training queries, works and labels.
        plans: The plans to choose from.
        seed: Seed of the validation split, of the initial weights and of all draws.
        validation_fraction: Fraction of the queries that is used for validation.
        device: Device to train on.
        report: Receives progress messages.

    Returns:
        The encoder and its figures; the encoder is on the CPU.

    Raises:
        InvalidInput: There are too few queries for validation.
    """
    started, placement = time.perf_counter(), torch_device(device)
    training, validation = _split_validation(len(examples.queries), validation_fraction, seed)
    tried = []
    for plan in plans:
        run = _Run(examples.rows(training), plan, seed, placement)
        start = mean_ndcg(run.averaged, examples.rows(validation))
        epochs, reached = _train_until_worse(run, examples.rows(validation), report)
        report(
            f"{plan.loss.value}, softness {plan.softness:g}:"
            f" nDCG@100 {start:.4f} -> {reached:.4f}, epoch {epochs}"
        )
        tried.append((reached, epochs, start, plan))
    reached, epochs, start, plan = max(tried, key=lambda entry: entry[0])
    run = _Run(examples, plan, seed, placement)
    for _ in range(epochs):
        run.epoch()
    report(f"retrained on all {len(examples.queries)} queries: {plan.loss.value}, {epochs} epochs")
    trained = run.averaged.to(CPU).rounded()
    return Trained(trained, plan, epochs, reached, start, time.perf_counter() - started)


def mean_ndcg(encoder: Encoder, examples: Examples) -> float:
    """Mean nDCG@100 of an encoder's cosines over the queries of the examples."""
    return examples.ndcg(encoder_scores(encoder, examples.queries, examples.works))


def ndcg_of(scores: NDArray[np.float32], influence: NDArray[np.float32]) -> float:
    """Mean nDCG@100 over queries: scores (Q, N), influence (Q, N)."""
    pairs = zip(scores, influence, strict=True)
    return float(np.mean([ndcg_at_k(row, truth, NDCG_DEPTH) for row, truth in pairs]))


def encoder_scores(
    encoder: Encoder, queries: NDArray[np.float32], works: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Cosines of an encoder's vectors: queries (Q, F), works (N, F) -> (Q, N) float32."""
    return encoder.encode_features(queries, Side.QUERY) @ encoder.encode_features(works, Side.WORK).T


@dataclass(frozen=True)
class Mix:
    """Weights of the parts of raw features, used to initialise the encoder."""

    image: float
    """Weight of the image part."""
    layout: float
    """Weight of the layout; the text part has the rest of 1."""
    centred: bool
    """Whether the works' mean feature is subtracted."""

    @classmethod
    def grid(cls) -> tuple[Mix, ...]:
        """All mixes that `best_mix` tries."""
        combinations = itertools.product(_MIX_WEIGHTS, _MIX_WEIGHTS, (False, True))
        return tuple(
            cls(image, layout, centred) for image, layout, centred in combinations if image + layout <= 1.0
        )

    def scales(self, parts: Parts) -> NDArray[np.float32]:
        """Factor of each feature: (F,) float32."""
        weights = np.maximum([self.image, self.layout, 1.0 - self.image - self.layout], 0.0)
        scales: NDArray[np.float32] = np.repeat(np.sqrt(weights), list(parts.widths.values())).astype(
            np.float32
        )
        return scales


def best_mix(examples: Examples) -> Mix:
    """The mix of raw features whose cosine has the highest nDCG@100 with the labels."""
    fitting = [mix for mix in Mix.grid() if mix.layout == 0.0 or examples.parts.layout]
    return max(fitting, key=lambda mix: examples.ndcg(_mixed_cosines(mix, examples)))


def _mixed_cosines(mix: Mix, examples: Examples) -> NDArray[np.float32]:
    scales = mix.scales(examples.parts)
    queries, works = examples.queries * scales, examples.works * scales
    if mix.centred:
        mean = works.mean(axis=0)
        queries, works = queries - mean, works - mean
    # A blank picture's layout is zero: a mix of the layout alone leaves no direction, and cosines of 0.
    cosines: NDArray[np.float32] = unit_rows(queries) @ unit_rows(works).T
    return cosines


def start_projection(examples: Examples, width: int) -> Projection:
    """Initial projection of the linear path: the principal directions of the best mix."""
    mix = best_mix(examples)
    scales = mix.scales(examples.parts)
    return Projection.principal(examples.works, width, scales=scales, centred=mix.centred)


def _split_validation(count: int, fraction: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the training queries, and of the validation queries."""
    validation = round(count * fraction)
    if not 0 < validation < count:
        raise InvalidInput(
            f"{count} training queries are too few to set some aside for validation; label more",
            field="queries",
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[validation:]), np.sort(order[:validation])


def _train_until_worse(run: _Run, validation: Examples, report: Callable[[str], None]) -> tuple[int, float]:
    """Train with early stopping; returns the best epoch (0: before training) and its nDCG@100."""
    best_epoch, best = 0, mean_ndcg(run.averaged, validation)
    for epoch in range(1, run.plan.epochs + 1):
        loss = run.epoch()
        reached = mean_ndcg(run.averaged, validation)
        if reached > best:
            best_epoch, best = epoch, reached
        if epoch % 10 == 0:
            report(f"  {run.plan.loss.value} epoch {epoch}: loss {loss:.4f}, nDCG@100 {reached:.4f}")
        if epoch - best_epoch >= run.plan.patience:
            break
    return best_epoch, best


class _Run:
    """One training: encoder, encoder with averaged weights, optimiser and random generator.

    Models, features and labels are on the device; rows are drawn on the CPU.
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
        # Sorted on the CPU, so that ties have the same order on every device.
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
        """Train one epoch, each query once, and return the mean loss of its steps."""
        self.encoder.train()
        order = torch.randperm(len(self._queries), generator=self._random)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=self._random)))
            losses = [self._step(rows) for rows in order.split(self.plan.queries_per_step)]
        return float(np.mean(losses))

    def _step(self, queries: Tensor) -> float:
        works = self._draw_works(queries).to(self._device)
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

    def _draw_works(self, queries: Tensor) -> Tensor:
        """Rows of works, on the CPU: some of each query's most influential ones, the others from all."""
        plan, count = self.plan, len(self._works)
        if plan.works_per_step >= count:
            return torch.arange(count)
        picks = torch.randint(self._top, (len(queries), plan.top_draws), generator=self._random)
        top = self._best_first[queries].gather(1, picks).flatten()
        others = torch.randperm(count, generator=self._random)
        return _first_distinct(torch.cat([top, others]), plan.works_per_step)

    def _noisy(self, features: Tensor) -> Tensor:
        """Features with Gaussian noise of expected length `feature_noise` in each part."""
        widths = self._widths.repeat_interleave(self._widths)
        noise = torch.randn(features.shape, generator=self._random)
        return features + (self.plan.feature_noise * noise / widths.sqrt()).to(features.device)

    def _average(self) -> None:
        with torch.no_grad():
            for average, new in zip(self.averaged.parameters(), self.encoder.parameters(), strict=True):
                average.lerp_(new, 1.0 - self.plan.average_decay)


def cosines(queries: Tensor, works: Tensor) -> Tensor:
    """Cosines of vectors of any length: (Q, D), (W, D) -> (Q, W)."""
    return nn.functional.normalize(queries, dim=1) @ nn.functional.normalize(works, dim=1).T


def _first_distinct(rows: Tensor, count: int) -> Tensor:
    """The first `count` distinct rows, in order of appearance."""
    distinct = dict.fromkeys(rows.tolist())
    return torch.tensor(list(distinct)[:count])
