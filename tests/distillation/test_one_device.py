"""Towers, encoder and training keep every tensor on their device; draws do not depend on the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from creditline.devices import Device
from creditline.distillation.training.fitting import TrainingPlan, train_encoder
from creditline.distillation.training.losses import LossKind
from creditline.encoder.encoder import Encoder, EncoderShape, Projection, SeededDropout, Side
from creditline.encoder.model import EmbedderModel, EmbedItem
from creditline.release import Release
from creditline.towers.spec import EMBEDDED, TimmSpec, TowerSpec
from creditline.towers.towers import Towers
from tests.device_checks import META, fake_cuda, needs_gpu, one_device
from tests.distillation.label_sets import FEATURES, learnable_examples
from tests.distillation.small_towers import write_small_clip
from tests.towers.test_timm_tower import write_dinov2

_PICTURES = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
_TEXTS = ["a red square", "a blue one, and nothing else"]
_PLAN = TrainingPlan(
    epochs=2,
    works_per_step=20,
    queries_per_step=8,
    hidden=16,
    layers=2,
    width=16,
    nested=(8,),
    reduced=24,
)


def _encoder(*, reduced: int = 0) -> Encoder:
    shape = EncoderShape(FEATURES, width=16, hidden=16, layers=2, reduced=reduced, separate=True)
    return Encoder.initial(shape, Projection.first(FEATURES, reduced or 16), seed=0)


@pytest.mark.parametrize("layout", [True, False])
def test_the_embedded_towers_run_there(layout: bool) -> None:
    with one_device():
        towers = Towers.open(replace(EMBEDDED, layout=layout), device=META)
        features = towers.features(_PICTURES, _TEXTS)
        assert towers.image_features(_PICTURES).is_meta
        assert towers.text_features(_TEXTS).is_meta
    assert features.shape == (2, towers.parts.width)


def test_towers_from_a_directory_and_timm_run_there(tmp_path: Path) -> None:
    checkpoint = write_dinov2(tmp_path / "dinov2.safetensors")
    spec = TowerSpec(
        str(write_small_clip(tmp_path / "clip")),
        image=TimmSpec("vit_small_patch14_dinov2.lvd142m", checkpoint, 56),
    )
    with one_device():
        towers = Towers.open(spec, device=META)
        assert towers.features(_PICTURES, _TEXTS).shape == (2, towers.parts.width)


def test_the_encoder_runs_there_from_numpy_to_numpy() -> None:
    features = np.ones((3, FEATURES), np.float32)
    encoder = _encoder(reduced=24).to(META)
    with one_device():
        for side in Side:
            assert encoder.encode_features(features, side).shape == (3, 16)
        assert encoder.truncated(8).encode_features(features, Side.WORK).shape == (3, 8)


@pytest.mark.parametrize("loss", list(LossKind))
@pytest.mark.parametrize("weighted", [True, False])
def test_the_encoder_is_trained_there(loss: LossKind, weighted: bool) -> None:
    examples = learnable_examples(24, 40, seed=1)
    if weighted:
        examples = replace(examples, weights=np.ones_like(examples.influence))
    with one_device() as checked:
        trained = train_encoder(
            examples, [replace(_PLAN, loss=loss)], seed=0, validation_fraction=0.3, device=META
        )
    assert {value.device.type for value in trained.encoder.state_dict().values()} == {"cpu"}
    assert checked.host_copies > 0


def test_the_embedder_s_model_runs_there(small_release: Release) -> None:
    with one_device():
        model = EmbedderModel.open(small_release.directory, EMBEDDED, Device(META, "none"))
        items = [
            EmbedItem(picture, text, side)
            for picture, text, side in zip(_PICTURES, _TEXTS, Side, strict=True)
        ]
        found = model.forward(items)
    assert [each.vector.shape for each in found] == [(16,)] * 2


def test_forward_passes_run_on_a_pretended_gpu(towers_of_our_own: Towers) -> None:
    towers = towers_of_our_own
    # On the host, where the transform asks for numbers.
    pixels, tokens = towers.pixels(_PICTURES), torch.from_numpy(towers.tokens(_TEXTS))
    with fake_cuda() as place:
        place(towers.model)
        image = towers.model.get_submodule("visual")(pixels.to("cuda:0"))
        text = towers.model.encode_text(tokens.to("cuda:0"))  # type: ignore[operator]
        vectors = place(_encoder())(torch.zeros(2, FEATURES, device="cuda:0"), Side.QUERY)
        for found in (image, text, vectors):
            assert found.device == torch.device("cuda:0")


@pytest.fixture
def towers_of_our_own(tmp_path: Path) -> Towers:
    """Not the session's: their parameters are taken away."""
    return Towers.open(TowerSpec(str(write_small_clip(tmp_path / "clip"))))


def test_the_mask_of_a_seed_is_torchs_own_on_the_processor() -> None:
    values = torch.randn(64, 33, generator=torch.Generator().manual_seed(1))
    ours, theirs = SeededDropout(0.3), nn.Dropout(0.3)
    torch.manual_seed(7)
    found = ours(values)
    torch.manual_seed(7)
    assert torch.equal(found, theirs(values))
    assert torch.equal(ours.eval()(values), values)


@needs_gpu
def test_a_gpu_trains_the_same_encoder_from_the_same_seed() -> None:
    """With dropout and noise, whose draws are the same there; losses differ by rounding only."""
    examples, held = learnable_examples(60, 80, seed=1), learnable_examples(20, 80, seed=2)
    vectors = {}
    for device in ("cpu", "cuda:0"):
        trained = train_encoder(examples, [_PLAN], seed=0, device=device)
        vectors[device] = trained.encoder.encode_features(held.queries, Side.QUERY)
    cosines = (vectors["cpu"] * vectors["cuda:0"]).sum(axis=1)
    assert cosines.min() > 0.999


@needs_gpu
def test_a_gpu_gives_the_same_features() -> None:
    features = {
        device: Towers.open(device=device).features(_PICTURES, _TEXTS) for device in ("cpu", "cuda:0")
    }
    assert np.abs(features["cuda:0"] - features["cpu"]).max() < 1e-4
