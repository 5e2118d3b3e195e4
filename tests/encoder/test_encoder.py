from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from creditline.encoder.encoder import Encoder, EncoderShape, Projection, Side
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


def test_a_centred_projection_subtracts_the_mean() -> None:
    given = features(100, seed=4) + 1.0
    scales = np.full(FEATURES, 2.0, dtype=np.float32)
    projection = Projection.principal(given, FEATURES, scales=scales, centred=True)
    projected = given @ projection.weight.T + projection.bias
    centred = (given - given.mean(axis=0)) * 2.0
    assert projected @ projected.T == pytest.approx(centred @ centred.T, abs=1e-3)


def test_dropout_is_for_training_only() -> None:
    trained = encoder()
    with torch.no_grad():
        trained.head.output.weight.normal_()
    given = torch.from_numpy(features(20))
    trained.train()
    assert not torch.equal(trained(given, Side.QUERY), trained(given, Side.QUERY))
    first = trained.encode_features(given.numpy(), Side.QUERY)
    assert np.array_equal(first, trained.encode_features(given.numpy(), Side.QUERY))
    assert trained.training


def test_a_saved_encoder_is_loaded_as_the_rounded_one(tmp_path: Path) -> None:
    saved = encoder(seed=5).rounded()
    saved.save(tmp_path / "encoder.safetensors")
    loaded = Encoder.load(tmp_path / "encoder.safetensors")
    assert loaded.shape == saved.shape
    given = features(10)
    assert np.array_equal(loaded.encode_features(given, Side.WORK), saved.encode_features(given, Side.WORK))


def test_the_same_seed_gives_the_same_weights() -> None:
    first, again, other = (encoder(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.hidden.0.weight"], other["head.hidden.0.weight"])


def test_a_file_that_is_missing_or_not_an_encoder_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(NotReady, match="distill run"):
        Encoder.load(tmp_path / "nothing.safetensors")
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(FingerprintMismatch, match="does not hold an encoder"):
        Encoder.load(tmp_path / "other.safetensors")


def test_reduced_features_keep_the_raw_cosine_before_training() -> None:
    given = features(60, seed=8)
    projection = Projection.principal(
        given, FEATURES, scales=np.ones(FEATURES, dtype=np.float32), centred=False
    )
    shape = EncoderShape(FEATURES, width=FEATURES, hidden=12, layers=1, reduced=FEATURES)
    started = Encoder.initial(shape, projection, seed=0)
    vectors = started.encode_features(given, Side.QUERY)
    assert vectors @ vectors.T == pytest.approx(given @ given.T, abs=1e-5)
    assert started.reduce is not None
    assert not started.reduce.weight.requires_grad


def test_separate_heads_start_equal_and_may_diverge() -> None:
    given = features(10, seed=9)
    scales = np.ones(FEATURES, dtype=np.float32)
    projection = Projection.principal(features(200), 8, scales=scales, centred=False)
    shape = EncoderShape(FEATURES, width=8, hidden=12, layers=1, separate=True)
    started = Encoder.initial(shape, projection, seed=0)
    query, work = (started.encode_features(given, side) for side in (Side.QUERY, Side.WORK))
    assert np.array_equal(query, work)
    assert started.work_head is not None
    with torch.no_grad():
        started.work_head.linear.weight.add_(0.1)
    assert np.array_equal(query, started.encode_features(given, Side.QUERY))
    assert not np.allclose(work, started.encode_features(given, Side.WORK))


def test_a_narrowed_encoder_gives_the_first_components_normalised(tmp_path: Path) -> None:
    whole, given = encoder(width=8, seed=3), features(12, seed=4)
    with torch.no_grad():
        whole.head.output.weight.normal_(generator=torch.Generator().manual_seed(0))
    first = whole.encode_features(given, Side.WORK)[:, :3]
    narrow = whole.truncated(3)
    expected = first / np.linalg.norm(first, axis=1, keepdims=True)
    assert narrow.encode_features(given, Side.WORK) == pytest.approx(expected, abs=1e-6)
    narrow.save(tmp_path / "encoder.safetensors")
    assert Encoder.load(tmp_path / "encoder.safetensors").shape.width == 3


def test_a_release_of_the_first_format_still_opens(tmp_path: Path) -> None:
    saved, given = encoder(seed=6).rounded(), features(5)
    saved.save(tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", framework="pt") as opened:
        state = {name.removeprefix("head."): opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        save_file(state, tmp_path / "old.safetensors", opened.metadata())
    loaded = Encoder.load(tmp_path / "old.safetensors")
    assert np.array_equal(loaded.encode_features(given, Side.WORK), saved.encode_features(given, Side.WORK))
