"""Towers compared with the packages that they come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.towers import embedded as embedded_towers
from creditline.towers.layout import LAYOUT_WIDTH
from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers
from tests.distillation.small_towers import SMALL_CLIP, write_small_clip


# A standard open_clip name, cut down: real architecture, random weights, small enough for a test.
def test_picture_features_are_those_of_plain_timm(towers: Towers, small_corpus: Corpus) -> None:
    pictures = [work.picture() for work in small_corpus.works[:3]]
    stored = torch.load(embedded_towers.image_weights(), weights_only=True)
    plain = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), stored.values(), strict=True)))
    with torch.inference_mode():
        wanted = plain.forward_head(plain.forward_features(towers.pixels(pictures)), pre_logits=True)
    assert wanted.shape == (3, 1280)
    assert torch.allclose(towers.image_features(pictures), wanted, atol=1e-5)


def test_the_image_tower_still_recognises_its_training_classes(towers: Towers, small_corpus: Corpus) -> None:
    """Weights in a wrong order would load, and classify at random: it must be sure of something."""
    state = embedded_towers.timm_state(embedded_towers.image_weights())
    pictures = [work.picture() for work in small_corpus.works[:12]]
    logits = towers.image_features(pictures) @ state["classifier.weight"].T + state["classifier.bias"]
    assert logits.softmax(dim=1).max(dim=1).values.median() > 0.15


def test_text_features_are_those_of_plain_transformers_with_mean_pooling(towers: Towers) -> None:
    texts = ["a red ladybug on a leaf", "x", "an old wooden house beside a tree, in winter"]
    directory = embedded_towers.text_directory()
    model, tokenizer = AutoModel.from_pretrained(directory).eval(), AutoTokenizer.from_pretrained(directory)
    wanted = []
    with torch.inference_mode():
        for text in texts:
            wanted.append(model(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(dim=1))
    assert torch.allclose(towers.text_features(texts), torch.cat(wanted), atol=1e-5)


def test_features_do_not_depend_on_the_batch_and_have_parts_of_length_one(
    towers: Towers, small_corpus: Corpus
) -> None:
    works = small_corpus.works[:18]
    together = towers.features([work.picture() for work in works], [work.caption for work in works])
    alone = np.concatenate([towers.features([work.picture()], [work.caption]) for work in works])
    assert together.shape == (18, towers.parts.width)
    assert together.dtype == np.float32
    assert np.abs(together - alone).max() < 1e-5
    for part in towers.parts.slices().values():
        assert np.linalg.norm(together[:, part], axis=1) == pytest.approx(np.ones(18), abs=1e-5)


def test_texts_of_any_length_are_accepted(towers: Towers) -> None:
    features = towers.text_features(["", "word " * 3000])
    assert torch.isfinite(features).all()


def test_a_changed_image_tower_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "tower.pth"
    changed.write_bytes(embedded_towers.image_weights().read_bytes()[:-1] + b"x")
    with pytest.raises(FingerprintMismatch, match="install the package"):
        embedded_towers.timm_state(changed)


def test_a_picture_without_a_text_is_refused(towers: Towers, small_corpus: Corpus) -> None:
    with pytest.raises(InvalidInput, match="each picture needs a text"):
        towers.features([small_corpus.works[0].picture()], [])


@pytest.fixture
def small_clip(tmp_path: Path) -> Path:
    """A directory as open_clip saves one: configuration and random weights."""
    return write_small_clip(tmp_path)


def test_any_open_clip_directory_loads_through_the_same_code(small_clip: Path, small_corpus: Corpus) -> None:
    opened = Towers.open(TowerSpec.parse(str(small_clip)))
    pictures = [work.picture() for work in small_corpus.works[:2]]
    model = open_clip.CLIP(**SMALL_CLIP)
    open_clip.load_checkpoint(model, str(small_clip / "open_clip_model.safetensors"))
    with torch.inference_mode():
        wanted = model.eval().encode_image(opened.pixels(pictures))
    assert torch.allclose(opened.image_features(pictures), wanted, atol=1e-5)
    assert opened.features(pictures, ["a", "b"]).shape == (2, 64 + LAYOUT_WIDTH)


def test_an_open_clip_name_loads_from_a_local_checkpoint(small_clip: Path, small_corpus: Corpus) -> None:
    configuration = small_clip / "small-clip-of-a-test.json"
    configuration.write_text(json.dumps(SMALL_CLIP))
    open_clip.add_model_config(configuration)
    checkpoint = small_clip / "open_clip_model.safetensors"
    opened = Towers.open(TowerSpec.parse(f"small-clip-of-a-test@{checkpoint}"))
    assert opened.features([small_corpus.works[0].picture()], ["a"]).shape == (1, 64 + LAYOUT_WIDTH)


def test_towers_with_other_weights_have_another_fingerprint(small_clip: Path, towers: Towers) -> None:
    spec = TowerSpec.parse(str(small_clip))
    first, again = Towers.open(spec).fingerprint, Towers.open(spec).fingerprint
    torch.manual_seed(1)
    save_file(open_clip.CLIP(**SMALL_CLIP).state_dict(), small_clip / "open_clip_model.safetensors")
    assert first == again
    assert len({first, Towers.open(spec).fingerprint, towers.fingerprint}) == 3
    assert len(first) == 64


@pytest.mark.parametrize("spec", ["ViT-B-32@nowhere.safetensors", "nowhere"])
def test_weights_that_are_not_there_are_never_downloaded(spec: str) -> None:
    with pytest.raises(NotReady, match="never downloaded"):
        Towers.open(TowerSpec.parse(spec))


def test_an_unknown_open_clip_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="open_clip has no model"):
        Towers.open(TowerSpec.parse("no-such-model@weights.safetensors"))


def test_inputs_taken_before_give_the_features_of_their_pictures(
    towers: Towers, small_corpus: Corpus
) -> None:
    works = small_corpus.works[:6]
    pictures, texts = [work.picture() for work in works], [work.caption for work in works]
    inputs = [towers.image_input(picture) for picture in pictures]
    np.testing.assert_array_equal(towers.features(inputs, texts), towers.features(pictures, texts))
