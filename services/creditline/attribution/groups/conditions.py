"""Losses of queries under the captions of works in place of their own prompts.

The proxy game of SurrogateSHAP (arXiv 2601.22276) replaces training without a contributor by inference
without the contributor's conditions. For one picture, the inference is its denoising loss under each
condition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.errors import InvalidInput
from creditline.files import replace_file
from creditline.generator.losses import Draws, Examples, NoisyBatch, noisy_batch
from creditline.generator.pipeline import Generator

CONDITION_DRAWS = Draws(timesteps=3, salt="conditions")
_PASSES_PER_BATCH = 64


@dataclass(frozen=True)
class Conditions:
    """Different texts of works, and which work has which."""

    prompts: tuple[str, ...]
    """(K,) different captions, in the order of the works, and the empty prompt after them."""
    of_work: NDArray[np.intp]
    """(N,) place of each work's caption in `prompts`."""

    @classmethod
    def of(cls, captions: tuple[str, ...]) -> Conditions:
        """The different captions of works, and the empty prompt after them."""
        places = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
        return cls((*places, ""), np.array([places[caption] for caption in captions], dtype=np.intp))


def condition_losses(
    generator: Generator,
    queries: Examples,
    text: Tensor,
    directory: Path,
    draws: Draws = CONDITION_DRAWS,
    report: Callable[[str], None] = lambda line: None,
) -> NDArray[np.float32]:
    """The loss of each query under each condition, with the same noise under all of them.

    A query's losses are kept in the directory when they are complete, so an interrupted run resumes.

    Args:
        generator: The generator.
        queries: Q queries; their own texts are not used.
        text: (K, L, D) float32, text vectors of the conditions.
        directory: Directory of finished queries; those of another generator, text or draws are not used.
        draws: Timesteps and noise.
        report: Receives a progress line for each query.

    Returns:
        (Q, K, draws) float32.

    Raises:
        InvalidInput: There is no condition.
    """
    if not len(text):
        raise InvalidInput("a proxy game needs at least one condition", field="conditions")
    finished = directory / _digest(generator, text, draws)
    finished.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, query in enumerate(queries.ids):
        path = finished / f"{query}.npy"
        if not path.exists():
            losses = _losses_under(generator, noisy_batch(generator, queries.rows([number]), draws), text)
            with replace_file(path) as draft, draft.open("wb") as stream:
                np.save(stream, losses)
            report(f"{query}: {len(text)} conditions ({number + 1} of {len(queries)})")
        rows.append(np.load(path))
    return np.stack(rows)


def _digest(generator: Generator, text: Tensor, draws: Draws) -> str:
    """Name of what the losses of a query were computed from."""
    digest = hashlib.sha256(f"{generator.fingerprint} {draws}".encode())
    digest.update(text.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@torch.inference_mode()
def _losses_under(generator: Generator, query: NoisyBatch, text: Tensor) -> NDArray[np.float32]:
    """Losses of one query's draws under each condition: (K, draws) float32."""
    draws = len(query.timesteps)
    step = max(1, _PASSES_PER_BATCH // draws)
    parts = []
    for start in range(0, len(text), step):
        given = text[start : start + step]
        count = len(given)
        predicted = generator.unet(
            query.inputs.repeat(count, 1, 1, 1),
            query.timesteps.repeat(count),
            given.repeat_interleave(draws, dim=0),
        ).sample
        errors = (predicted.unflatten(0, (count, draws)) - query.targets).square().mean(dim=(2, 3, 4))
        parts.append(errors * query.noise_error)
    losses: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return losses
