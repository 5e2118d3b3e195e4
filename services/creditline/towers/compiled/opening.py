"""Towers that run compiled, as far as their check allows it, and eager otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from creditline.towers.compiled.cache import Entry, cached_entry
from creditline.towers.compiled.check import (
    IMAGE,
    INPUTS,
    LEAST_COSINE,
    TEXT,
    Features,
    image_features,
    least_cosine,
    text_features,
)
from creditline.towers.compiled.session import CompiledRunner
from creditline.towers.runners import EagerRunner, Runner, Runners
from creditline.towers.towers import Towers

_CHECKS: dict[str, Callable[[Towers, Runner], Features]] = {IMAGE: image_features, TEXT: text_features}
# Passes over more pictures take longer for each, because their activations leave the processor's caches, and
# divide less evenly among threads.
_PICTURES_PER_PASS = 1
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OpenedTowers:
    """Towers with what is known of their form."""

    towers: Towers
    """The towers."""
    eager: dict[str, str]
    """Why a tower runs by eager torch, by tower; towers that are left out run compiled."""

    @classmethod
    def by_torch(cls, towers: Towers, reason: str) -> OpenedTowers:
        """Towers of which both run by eager torch, for one reason."""
        return cls(towers, {IMAGE: reason, TEXT: reason})


def compile_towers(towers: Towers, cache: Path, *, threads: int = 1) -> OpenedTowers:
    """Run towers compiled; each tower stays eager where its compiled form is missing or fails its check.

    Args:
        towers: Towers, which themselves remain as they are.
        cache: Directory of the cache, made where it is missing.
        threads: Number of forward passes that run at the same time.
    """
    if towers.device.type != "cpu":
        return OpenedTowers.by_torch(towers, f"the towers run on {towers.device}")
    with cached_entry(towers, cache) as entry, ThreadPoolExecutor(threads) as pool:
        checked = pool.map(lambda tower: _checked_runner(towers, tower, entry), _CHECKS)
        found = dict(zip(_CHECKS, checked, strict=True))
    eager = {tower: reason for tower, reason in found.items() if isinstance(reason, str)}
    for tower, reason in eager.items():
        _LOGGER.warning("the %s tower runs by eager torch, which is slower: %s", tower, reason)
    image = _or_eager(found[IMAGE], towers.image_network, towers.device)
    text = _or_eager(found[TEXT], towers.text_network, towers.device)
    if eager:
        return OpenedTowers(towers.run_by(Runners(image, text)), eager)
    runners = Runners(image, text, pictures=_PICTURES_PER_PASS, threads=threads)
    return OpenedTowers(towers.run_by(runners), {})


def _or_eager(found: Runner | str, network: nn.Module, device: torch.device) -> Runner:
    return EagerRunner(network, device) if isinstance(found, str) else found


def _checked_runner(towers: Towers, tower: str, entry: Entry) -> Runner | str:
    """The compiled form of a tower, or why it must not serve."""
    if tower in entry.refused:
        return f"it could not be exported ({entry.refused[tower]})"
    try:
        runner = CompiledRunner(entry.network(tower))
        cosine = least_cosine(_CHECKS[tower](towers, runner), entry.reference[tower])
    except Exception as error:  # ONNX Runtime's errors have no common class, and eager torch always remains
        return f"ONNX Runtime cannot run it ({type(error).__name__}: {error})"
    if not cosine >= LEAST_COSINE:  # NaN fails too
        return f"of {INPUTS} inputs, one has a cosine of {cosine:.9f} with eager torch, below {LEAST_COSINE}"
    return runner
