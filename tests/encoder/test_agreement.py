"""The agreement of pictures with prompts tells genuine pairs from swapped ones, and is calibrated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.encoder.agreement import PromptAgreement
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.towers.parts import Parts

_PARTS = Parts(image=24, layout=12, text=16)


def _pairs(count: int, seed: int) -> NDArray[np.float32]:
    """(count, 52) features of pictures and texts that share eight hidden causes, each part of length 1."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    causes = rng.normal(size=(count, 8))
    parts = []
    for width in (_PARTS.image, _PARTS.layout, _PARTS.text):
        rows = causes @ fixed.normal(size=(8, width)) + 0.5 * rng.normal(size=(count, width))
        parts.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return np.concatenate(parts, axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def agreement() -> PromptAgreement:
    return PromptAgreement.of(_pairs(300, 1), _pairs(300, 2), _pairs(400, 3), _PARTS, seed=0)


def test_swapped_prompts_agree_less_than_genuine_ones(agreement: PromptAgreement) -> None:
    pairs = _pairs(200, 4)
    swapped = agreement.agreement(pairs, np.roll(pairs, 1, axis=0))
    assert (swapped < 0.05).mean() > 0.5
    assert np.median(agreement.agreement(pairs, pairs)) == pytest.approx(0.5, abs=0.1)


def test_about_one_genuine_pair_in_twenty_is_below_five_per_cent(agreement: PromptAgreement) -> None:
    pairs = _pairs(2_000, 5)
    assert (agreement.agreement(pairs, pairs) < 0.05).mean() == pytest.approx(0.05, abs=0.025)


def test_texts_that_say_nothing_of_the_picture_are_not_told_from_swapped_ones() -> None:
    def unrelated(count: int, seed: int) -> NDArray[np.float32]:
        pairs, others = _pairs(count, seed), _pairs(count, seed + 100)
        pairs[:, _PARTS.slices()["text"]] = others[:, _PARTS.slices()["text"]]
        return pairs

    fitted = PromptAgreement.of(unrelated(300, 1), unrelated(300, 2), unrelated(400, 3), _PARTS, seed=0)
    pairs = unrelated(500, 4)
    assert (fitted.agreement(pairs, np.roll(pairs, 1, axis=0)) < 0.05).mean() < 0.12


def test_an_agreement_does_not_depend_on_the_batch(agreement: PromptAgreement) -> None:
    pairs = _pairs(20, 6)
    alone = [agreement.agreement(row[None], row[None])[0] for row in pairs]
    np.testing.assert_allclose(agreement.agreement(pairs, pairs), alone, atol=0.0026)


def test_of_many_works_a_sample_is_remembered() -> None:
    given = _pairs(100, 1), _pairs(300, 2), _pairs(100, 3)
    fitted = PromptAgreement.of(*given, _PARTS, seed=0, remembered=50)
    assert len(fitted.pictures) == len(fitted.captions) == 50


def test_a_blank_picture_and_an_empty_text_have_an_agreement(agreement: PromptAgreement) -> None:
    blank = np.zeros((1, _PARTS.width), dtype=np.float32)
    assert 0.0 <= agreement.agreement(blank, blank)[0] <= 1.0


def test_few_pairs_are_refused() -> None:
    with pytest.raises(InvalidInput, match="31 held-out pairs are too few"):
        PromptAgreement.of(_pairs(32, 1), _pairs(50, 2), _pairs(31, 3), _PARTS, seed=0)


def test_a_saved_agreement_answers_as_before(agreement: PromptAgreement, tmp_path: Path) -> None:
    path, pairs = tmp_path / "agreement.safetensors", _pairs(200, 7)
    agreement.save(path)
    np.testing.assert_allclose(
        PromptAgreement.load(path).agreement(pairs, pairs), agreement.agreement(pairs, pairs), atol=0.02
    )


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agreement.safetensors"
    with pytest.raises(NotReady, match="there is no agreement of pictures with prompts at"):
        PromptAgreement.load(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(FingerprintMismatch, match="build the release again"):
        PromptAgreement.load(path)


def test_an_agreement_of_another_release_is_refused(agreement: PromptAgreement, tmp_path: Path) -> None:
    path = tmp_path / "agreement.safetensors"
    replace(agreement, encoder="a" * 64).save(path)
    assert PromptAgreement.load(path, encoder="a" * 64).encoder == "a" * 64
    with pytest.raises(FingerprintMismatch, match="was fitted for encoder aaaaaaaaaaaaaaaa…"):
        PromptAgreement.load(path, encoder="b" * 64)
    agreement.save(path)
    assert PromptAgreement.load(path, encoder="b" * 64).encoder == "", "made before it was stated"
