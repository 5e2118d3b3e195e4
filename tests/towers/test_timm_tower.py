"""DINOv2 by timm in its true layout, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput, NotReady
from creditline.towers.spec import TimmSpec, TowerSpec
from creditline.towers.towers import Towers
from tests.distillation.small_towers import write_small_clip

_NAME = "vit_small_patch14_dinov2.lvd142m"
_SIDE = 56


def write_dinov2(path: Path, seed: int = 0) -> Path:
    """The very tensors of a published checkpoint, which is of 518 pixels to a side."""
    torch.manual_seed(seed)
    model = timm.create_model(_NAME, pretrained=False, num_classes=0)
    save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dinov2(tmp_path_factory.mktemp("dinov2") / "model.safetensors")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_clip(tmp_path_factory.mktemp("clip"))


def test_image_features_are_those_of_plain_timm(checkpoint: Path, clip: Path, small_corpus: Corpus) -> None:
    towers = Towers.open(TowerSpec(str(clip), image=TimmSpec(_NAME, checkpoint)))
    picture = small_corpus.works[0].picture()
    plain = timm.create_model(_NAME, pretrained=False, num_classes=0, checkpoint_path=str(checkpoint)).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(plain))
    with torch.inference_mode():
        wanted = plain(transform(picture)[None])
    assert towers.parts.image == wanted.shape[1] == 384
    torch.testing.assert_close(towers.image_features([picture]), wanted, rtol=1e-4, atol=1e-5)


def test_a_smaller_side_takes_the_same_weights_and_no_batch_matters(
    checkpoint: Path, clip: Path, small_corpus: Corpus
) -> None:
    towers = Towers.open(TowerSpec.parse(f"{clip}+timm:{_NAME}@{checkpoint}#{_SIDE}"))
    works = small_corpus.works[:18]
    together = towers.features([work.picture() for work in works], [work.caption for work in works])
    alone = [towers.features([work.picture()], [work.caption])[0] for work in works[::5]]
    np.testing.assert_allclose(together[::5], alone, atol=2e-5)
    image = together[:, towers.parts.slices()["image"]]
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1.0, atol=1e-5)


def test_the_text_features_and_the_layout_are_unchanged(
    checkpoint: Path, clip: Path, small_corpus: Corpus
) -> None:
    work = small_corpus.works[3]
    plain = Towers.open(TowerSpec(str(clip)))
    towers = Towers.open(TowerSpec(str(clip), image=TimmSpec(_NAME, checkpoint, _SIDE)))
    for part in ("layout", "text"):
        ours, theirs = (
            each.features([work.picture()], [work.caption])[:, each.parts.slices()[part]]
            for each in (towers, plain)
        )
        np.testing.assert_array_equal(ours, theirs)


def test_other_weights_another_side_and_no_layout_are_other_towers(
    checkpoint: Path, clip: Path, tmp_path: Path
) -> None:
    other = write_dinov2(tmp_path / "other.safetensors", seed=1)
    specs = [
        TowerSpec(str(clip)),
        TowerSpec(str(clip), layout=False),
        TowerSpec(str(clip), image=TimmSpec(_NAME, checkpoint, _SIDE)),
        TowerSpec(str(clip), image=TimmSpec(_NAME, checkpoint, 2 * _SIDE)),
        TowerSpec(str(clip), image=TimmSpec(_NAME, other, _SIDE)),
    ]
    assert len({Towers.open(spec).fingerprint for spec in specs}) == len(specs)


def test_weights_of_another_model_are_refused_in_a_sentence(checkpoint: Path, clip: Path) -> None:
    spec = TowerSpec(str(clip), image=TimmSpec("vit_base_patch14_dinov2.lvd142m", checkpoint))
    with pytest.raises(InvalidInput, match="does not fit timm's vit_base_patch14_dinov2") as raised:
        Towers.open(spec)
    assert "\n" not in str(raised.value)


def test_a_missing_checkpoint_and_an_unknown_name_are_refused(clip: Path, checkpoint: Path) -> None:
    with pytest.raises(NotReady, match="never downloaded"):
        Towers.open(TowerSpec(str(clip), image=TimmSpec(_NAME, clip / "none.safetensors")))
    with pytest.raises(InvalidInput, match="timm has no model 'dino_v9'"):
        Towers.open(TowerSpec(str(clip), image=TimmSpec("dino_v9", checkpoint)))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("embedded", TowerSpec("embedded")),
        ("ViT-B-32@b.safetensors", TowerSpec("ViT-B-32", Path("b.safetensors"))),
        ("ViT-L-14@l.pt+no-layout", TowerSpec("ViT-L-14", Path("l.pt"), layout=False)),
        ("dir+timm:vit@v.pth", TowerSpec("dir", image=TimmSpec("vit", Path("v.pth")))),
        ("timm:vit@v.pth#224+dir", TowerSpec("dir", image=TimmSpec("vit", Path("v.pth"), 224))),
    ],
)
def test_a_line_of_text_names_towers(text: str, spec: TowerSpec) -> None:
    assert TowerSpec.parse(text) == spec


@pytest.mark.parametrize("text", ["", "timm:vit@v.pth", "a+b", "a+timm:x", "a+timm:x@y#z", "no-layout"])
def test_what_names_no_towers_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"no tower"):
        TowerSpec.parse(text)
