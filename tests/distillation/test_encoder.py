from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from creditline.distillation.encoder import Encoder, EncoderShape, Projection, Side
from creditline.errors import FingerprintMismatch, NotReady

FEATURES = 24
SHAPE = EncoderShape(FEATURES, width=8, hidden=12, layers=2)


def features(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def encoder(width: int = 8, seed: int = 0) -> Encoder:
    shape = EncoderShape(FEATURES, width=width, hidden=12, layers=2)
    scales = np.ones(FEATURES, dtype=np.float32)
    return Encoder.initial(
        shape, Projection.principal(features(200), width, scales=scales, centred=False), seed=seed
    )


def test_vectors_have_length_one_and_do_not_depend_on_the_batch() -> None:
    given = features(50, seed=1)
    vectors = encoder().encode_features(given, Side.QUERY)
    alone = np.concatenate([encoder().encode_features(row[None], Side.QUERY) for row in given])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(50), abs=1e-6)
    assert np.abs(vectors - alone).max() < 1e-6


def test_before_training_a_full_projection_keeps_the_raw_cosine() -> None:
    given = features(30, seed=2)
    vectors = encoder(width=FEATURES).encode_features(given, Side.WORK)
    assert vectors @ vectors.T == pytest.approx(given @ given.T, abs=1e-5)


def test_a_narrow_projection_keeps_the_cosine_of_features_that_lie_in_few_directions() -> None:
    random = np.random.default_rng(3)
    flat = (random.normal(size=(100, 4)) @ random.normal(size=(4, FEATURES))).astype(np.float32)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    projection = Projection.principal(flat, 8, scales=np.ones(FEATURES, dtype=np.float32), centred=False)
    vectors = Encoder.initial(SHAPE, projection, seed=0).encode_features(flat, Side.WORK)
    assert vectors @ vectors.T == pytest.approx(flat @ flat.T, abs=1e-4)


def test_a_centred_projection_takes_the_mean_off() -> None:
    given = features(100, seed=4) + 1.0
    scales = np.full(FEATURES, 2.0, dtype=np.float32)
    projection = Projection.principal(given, FEATURES, scales=scales, centred=True)
    projected = given @ projection.weight.T + projection.bias
    centred = (given - given.mean(axis=0)) * 2.0
    assert projected @ projected.T == pytest.approx(centred @ centred.T, abs=1e-3)


def test_dropout_is_for_training_only() -> None:
    trained = encoder()
    with torch.no_grad():
        trained.output.weight.normal_()
    given = torch.from_numpy(features(20))
    trained.train()
    assert not torch.equal(trained(given, Side.QUERY), trained(given, Side.QUERY))
    first = trained.encode_features(given.numpy(), Side.QUERY)
    assert np.array_equal(first, trained.encode_features(given.numpy(), Side.QUERY))
    assert trained.training


def test_a_saved_encoder_comes_back_as_the_rounded_one(tmp_path: Path) -> None:
    saved = encoder(seed=5).rounded()
    saved.save(tmp_path / "encoder.safetensors")
    loaded = Encoder.load(tmp_path / "encoder.safetensors")
    assert loaded.shape == saved.shape
    given = features(10)
    assert np.array_equal(loaded.encode_features(given, Side.WORK), saved.encode_features(given, Side.WORK))


def test_the_same_seed_gives_the_same_weights() -> None:
    first, again, other = (encoder(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["hidden.0.weight"], other["hidden.0.weight"])


def test_a_file_that_is_missing_or_not_an_encoder_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(NotReady, match="release build"):
        Encoder.load(tmp_path / "nothing.safetensors")
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(FingerprintMismatch, match="does not hold an encoder"):
        Encoder.load(tmp_path / "other.safetensors")
