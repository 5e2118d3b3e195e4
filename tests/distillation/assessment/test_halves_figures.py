"""Shares divide between picture and prompt by what decides them, and pictures alone are calibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.corpus.directions import unit_rows
from creditline.distillation.assessment.halves_figures import halves_figures, prompt_part_figures
from creditline.distillation.assessment.halves_fitting import FittedHalves, HalfCosines, fit_halves
from creditline.distillation.assessment.held_out import HeldOut
from creditline.encoder.encoder import Encoder, EncoderShape, Projection
from creditline.towers.parts import Parts

_PARTS = Parts(image=16, layout=0, text=16)
_HOLDERS = tuple(((f"person {row % 7}", 1.0),) for row in range(200))


def _features(pictures: NDArray[np.float64], texts: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.concatenate([unit_rows(pictures), unit_rows(texts)], axis=1).astype(np.float32)


def _pairs(count: int, seed: int) -> NDArray[np.float32]:
    """Features whose picture and text share four causes, beside much that is their own."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    causes, maps = rng.normal(size=(count, 4)), fixed.normal(size=(2, 4, 16))
    return _features(*(causes @ each + 3.0 * rng.normal(size=(count, 16)) for each in maps))


def _encoder(picture: float, text: float) -> Encoder:
    """An encoder that keeps the cosine of the features, with a weight for each half."""
    weight = np.diag([picture] * 16 + [text] * 16).astype(np.float32)
    projection = Projection(weight, np.zeros(32, dtype=np.float32))
    return Encoder.initial(EncoderShape(32, 32, hidden=8, layers=1), projection, seed=0)


def _held_out(encoder: Encoder) -> HeldOut:
    """Works and queries, with influence where the encoder's cosine is high."""
    queries, works = _pairs(120, 2), _pairs(200, 3)
    empty = HeldOut(queries, works, np.ones((120, 200), dtype=np.float32), _PARTS)
    imputed = fit_halves(encoder, _pairs(120, 1), empty, _HOLDERS, seed=0)
    assert imputed is not None
    cosines = HalfCosines.of(encoder, imputed.imputation, empty).both
    noise = np.random.default_rng(4).normal(scale=0.02, size=cosines.shape)
    return replace(empty, influence=(np.maximum(cosines, 0.0) ** 4 + noise).astype(np.float32))


def _fitted(encoder: Encoder, held_out: HeldOut) -> FittedHalves:
    fitted = fit_halves(encoder, _pairs(120, 1), held_out, _HOLDERS, seed=0)
    assert fitted is not None
    return fitted


@pytest.mark.parametrize(("picture", "text"), [(1.0, 0.2), (1.0, 1.0), (0.2, 1.0)])
def test_more_rests_on_the_half_that_the_encoder_looks_at(picture: float, text: float) -> None:
    encoder = _encoder(picture, text)
    held_out = _held_out(encoder)
    figures = halves_figures(encoder, _fitted(encoder, held_out).imputation, held_out, seed=5)
    stated, by_swaps = figures["prompt_part"].value, figures["prompt_part_by_swaps"].value
    for part in (stated, by_swaps):
        assert (part > 0.7) == (text > picture)
        assert (part < 0.3) == (picture > text)
    assert abs(stated - by_swaps) < 0.15
    assert figures["picture_alone_coverage"].value == pytest.approx(0.9, abs=0.06)
    assert figures["picture_and_prompt_ndcg100"].value > figures["picture_alone_ndcg100"].value


def test_beside_noise_more_rests_on_the_prompt() -> None:
    encoder = _encoder(1.0, 1.0)
    held_out = _held_out(encoder)
    noise = np.random.default_rng(9).normal(size=(40, 16))
    usual = held_out.queries[:40]
    queries = {"usual": usual, "noise": _features(noise, usual[:, 16:].astype(np.float64))}
    imputation = _fitted(encoder, held_out).imputation
    figures = prompt_part_figures(encoder, imputation, held_out, queries, seed=5)
    for by in ("", "_by_swaps"):
        assert figures[f"prompt_part_noise{by}"].value > figures[f"prompt_part_usual{by}"].high


def test_the_stated_recall_is_that_of_pictures_alone() -> None:
    encoder = _encoder(1.0, 1.0)
    held_out = _held_out(encoder)
    recall = _fitted(encoder, held_out).calibrations.recall
    assert recall.low < recall.recall < recall.high < recall.with_prompt


def test_too_few_queries_or_features_of_one_kind_give_no_halves() -> None:
    encoder = _encoder(1.0, 1.0)
    held_out = _held_out(encoder)
    assert fit_halves(encoder, _pairs(31, 1), held_out, _HOLDERS, seed=0) is None
    pictures_only = replace(held_out, parts=Parts(32, 0, 0))
    assert fit_halves(encoder, _pairs(120, 1), pictures_only, _HOLDERS, seed=0) is None
