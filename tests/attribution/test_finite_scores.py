"""Every registered method gives finite scores, or a refusal that names the work, the query or the layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from creditline.attribution.attributor import Gallery, attribute
from creditline.attribution.ensembles.models import Member
from creditline.attribution.methods.context import MethodContext
from creditline.attribution.methods.registry import COMMON_NOISE, METHODS, method_by_name
from creditline.errors import InvalidInput
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

WORKS, SILENT, QUERIES = 5, 2, 2
# Scores that depend on ids, or on pictures as pixels, which cannot be NaN.
WITHOUT_NUMBERS = {"random", "pixels", "nda-pixels"}
# A consensus of standardised scores may place a score of 0 a little outside the others' range.
_FACTOR = 3.0
# Methods with common noise differ from the others in their draws alone: one of each class is enough.
NAMES = [
    name
    for name in METHODS
    if not name.endswith(COMMON_NOISE) or name in {"trak-common", "dmin-common", "tracin-common"}
]


@pytest.fixture(scope="module")
def generator(random_generator_directory: Path) -> Iterator[Generator]:
    """A generator that is silent without a text, one of whose attentions has no gradient."""
    with Generator.open(random_generator_directory) as opened:
        blocks = [module for module in opened.unet.modules() if hasattr(module, "attn2")]
        for attention in (blocks[0].attn1, blocks[0].attn2):
            nn.init.zeros_(attention.to_out[0].weight)
        opened.unet.register_forward_hook(_silent_without_text)
        yield opened


def _silent_without_text(unet: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> Any:
    if len(inputs) == 3:
        output.sample = output.sample * (inputs[2].abs().amax(dim=(1, 2)) > 0)[:, None, None, None]
    return output


def _features(tower: str, gallery: Gallery) -> NDArray[np.float32]:
    """Random features, 0 for a silent example, NaN for one whose latents are NaN: (N, 5)."""
    rows = np.random.default_rng(len(tower)).normal(size=(len(gallery), 5))
    heard = (gallery.examples.text != 0).any(dim=2).any(dim=1, keepdim=True).numpy()
    latents = gallery.examples.latents.sum(dim=(1, 2, 3)).numpy()[:, None]
    return (rows * heard + 0.0 * latents).astype(np.float32)


@pytest.fixture(scope="module")
def works(generator: Generator) -> Gallery:
    """Works of which one has no gradient in any layer."""
    gallery = random_gallery(generator, "work", WORKS)
    gallery.examples.text[SILENT] = 0.0
    return gallery


@pytest.fixture(scope="module")
def queries(generator: Generator) -> Gallery:
    return random_gallery(generator, "query", QUERIES)


def _with_nan(gallery: Gallery) -> Gallery:
    """The gallery whose first latents are NaN, with a fingerprint of its own."""
    latents = gallery.examples.latents.clone()
    latents[0, 0, 0, 0] = torch.nan
    examples = replace(gallery.examples, latents=latents)
    return replace(gallery, examples=examples, fingerprint=f"{gallery.fingerprint} with NaN")


def _context(generator: Generator, works: Gallery, directory: Path) -> MethodContext:
    return MethodContext(
        generator=generator,
        works=works,
        directory=directory,
        features=_features,
        seeds={f"query-{number}": number for number in range(QUERIES)},
        seed_models={"again": Member(None)},
        checkpoints={"last": Member(None, 0.5)},
    )


@pytest.fixture(scope="module")
def context(generator: Generator, works: Gallery, tmp_path_factory: pytest.TempPathFactory) -> MethodContext:
    return _context(generator, works, tmp_path_factory.mktemp("spaces"))


@pytest.mark.parametrize("name", NAMES)
def test_a_work_and_a_layer_without_gradient_do_not_stand_out_and_a_nan_query_is_named(
    name: str, context: MethodContext, queries: Gallery, tmp_path: Path
) -> None:
    method = method_by_name(name)(context)
    found = np.abs(attribute(method, context.works, queries, tmp_path).values)
    assert (found[:, SILENT] <= _FACTOR * np.delete(found, SILENT, axis=1).max(axis=1)).all()
    if name not in WITHOUT_NUMBERS and name != "journey-trak":
        with pytest.raises(InvalidInput, match=queries.examples.ids[0]):
            method.scores(_with_nan(queries))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_NUMBERS])
def test_a_nan_work_is_named(
    name: str, generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    spoiled = _with_nan(works)
    with pytest.raises(InvalidInput, match=spoiled.examples.ids[0]):
        attribute(method_by_name(name)(_context(generator, spoiled, tmp_path)), spoiled, queries, tmp_path)


def test_a_query_without_gradient_cannot_be_unlearned_and_is_named(
    context: MethodContext, works: Gallery, tmp_path: Path
) -> None:
    silent = works.rows([SILENT])
    method = method_by_name("abu")(context)
    method.prepare(works, tmp_path)
    with pytest.raises(InvalidInput, match=f"'work-{SILENT}' cannot be unlearned: .* slope .* is 0"):
        method.scores(silent)
    assert (attribute(method_by_name("gradient-cosine")(context), works, silent, tmp_path).values == 0).all()
