"""One half of a query is estimated from the other, as far as they have something to do with each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.encoder.imputation import Imputation
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.towers.parts import Parts

_PARTS = Parts(image=24, layout=12, text=16)
_PICTURE = slice(0, 36)
_TEXT = slice(36, 52)


def _pairs(count: int, seed: int) -> NDArray[np.float32]:
    """(count, 52) features of pictures and texts that share eight hidden causes."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    causes = rng.normal(size=(count, 8))
    rows = causes @ fixed.normal(size=(8, _PARTS.width)) + 0.1 * rng.normal(size=(count, _PARTS.width)) + 1.0
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def imputation() -> Imputation:
    return Imputation.of(_pairs(400, 1), _PARTS, encoder="a" * 64)


def test_what_is_given_stays_and_what_is_sought_is_estimated(imputation: Imputation) -> None:
    pairs = _pairs(200, 2)
    for alone, given, sought in (
        (imputation.picture_alone(pairs), _PICTURE, _TEXT),
        (imputation.prompt_alone(pairs), _TEXT, _PICTURE),
    ):
        assert alone.dtype == np.float32
        assert np.array_equal(alone[:, given], pairs[:, given])
        errors = np.square(alone[:, sought] - pairs[:, sought]).sum()
        assert errors < 0.3 * np.square(pairs[:, sought] - pairs[:, sought].mean(axis=0)).sum()


def test_the_half_that_is_replaced_has_no_part_in_it(imputation: Imputation) -> None:
    pairs, others = _pairs(20, 3), _pairs(20, 4)
    mixed = np.concatenate([pairs[:, _PICTURE], others[:, _TEXT]], axis=1)
    assert np.array_equal(imputation.picture_alone(mixed), imputation.picture_alone(pairs))
    assert np.array_equal(imputation.prompt_alone(mixed), imputation.prompt_alone(others))


def test_halves_without_relation_are_estimated_by_their_mean() -> None:
    pairs = _pairs(400, 5)
    pairs[:, _TEXT] = np.random.default_rng(6).normal(size=(400, 16)) + 3.0
    estimated = Imputation.of(pairs, _PARTS).picture_alone(_pairs(50, 7))[:, _TEXT]
    assert np.abs(estimated - 3.0).mean() < 0.3


def test_a_saved_imputation_answers_as_before(imputation: Imputation, tmp_path: Path) -> None:
    path, pairs = tmp_path / "imputation.safetensors", _pairs(10, 8)
    imputation.save(path)
    loaded = Imputation.load(path, encoder="a" * 64)
    assert loaded.encoder == "a" * 64
    assert np.allclose(loaded.picture_alone(pairs), imputation.picture_alone(pairs), atol=0.02)
    assert np.allclose(loaded.prompt_alone(pairs), imputation.prompt_alone(pairs), atol=0.02)


def test_a_file_of_another_encoder_or_of_another_kind_is_refused(
    imputation: Imputation, tmp_path: Path
) -> None:
    path = tmp_path / "imputation.safetensors"
    with pytest.raises(NotReady, match="build the release again"):
        Imputation.load(path)
    imputation.save(path)
    with pytest.raises(FingerprintMismatch, match="was fitted for encoder aaaaaaaaaaaaaaaa…") as other:
        Imputation.load(path, encoder="b" * 64)
    assert other.value.field == path.name
    path.write_bytes(b"nothing")
    with pytest.raises(FingerprintMismatch, match="does not hold an imputation"):
        Imputation.load(path)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(InvalidInput, match="31 pairs are too few"):
        Imputation.of(_pairs(31, 1), _PARTS)
