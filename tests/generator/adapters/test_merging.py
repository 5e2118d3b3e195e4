"""Adapters in every spelling change the weights as the low-rank layers beside them would change the"
" outputs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from typer.testing import CliRunner

from creditline.cli.main import app
from creditline.errors import InvalidInput, NotReady
from creditline.generator.adapters.merging import merge, merged_fingerprint, read_updates
from creditline.generator.adapters.specification import AdapterSpec
from creditline.generator.adapters.updates import layers_of
from creditline.generator.fingerprint import generator_fingerprint
from creditline.generator.migration import former_fingerprint, goes_by
from creditline.generator.pipeline import Generator
from tests.generator.adapters import spellings
from tests.generator.adapters.spellings import LAYERS, Pairs, random_pairs
from tests.pipelines import stable_diffusion_15

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion_15(tmp_path_factory.mktemp("pipeline") / "sd")


@pytest.fixture(scope="module")
def generator(directory: Path) -> Iterator[Generator]:
    with Generator.open(directory) as opened:
        yield opened


@pytest.fixture
def pipeline(generator: Generator) -> SimpleNamespace:
    """Copies of the parts that adapters change."""
    parts = generator.pipeline
    return SimpleNamespace(unet=deepcopy(parts.unet), text_encoder=deepcopy(parts.text_encoder))


def _layer(pipeline: Any, part: str, name: str) -> nn.Module:
    found = layers_of(pipeline)[part]
    return found[name] if name in found else found[f"text_model.{name}"]


def _chosen(pipeline: Any) -> dict[tuple[str, str], nn.Module]:
    return {(part, name): _layer(pipeline, part, name) for part, names in LAYERS.items() for name in names}


@pytest.fixture
def pairs(pipeline: SimpleNamespace) -> Pairs:
    return random_pairs(_chosen(pipeline))


def _outputs(pipeline: Any) -> tuple[Tensor, Tensor]:
    """Outputs of UNet and text encoder in float64, so that they differ by the weights' rounding only."""
    unet, text_encoder = deepcopy(pipeline.unet).double(), deepcopy(pipeline.text_encoder).double()
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 1000, (2, 77), generator=draw)
    latents = torch.randn((2, 4, 4, 4), generator=draw).double()
    with torch.no_grad():
        text = text_encoder(tokens)[0]
        return unet(latents, torch.tensor([10, 700]), text).sample, text


@contextmanager
def _beside(pipeline: Any, pairs: Pairs, strength: float) -> Iterator[None]:
    """Low-rank layers that run beside the layers, at strength · alpha / rank of each."""

    def low_rank(pair: spellings.Pair) -> Callable[..., Tensor]:
        factor = strength * pair.alpha / len(pair.down)
        down, up = pair.down.double(), pair.up.double()

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if isinstance(module, nn.Linear):
                return output + factor * functional.linear(functional.linear(inputs[0], down), up)
            low = functional.conv2d(inputs[0], down, None, module.stride, module.padding)
            return output + factor * functional.conv2d(low, up)

        return hook

    hooks = [_layer(pipeline, *place).register_forward_hook(low_rank(pair)) for place, pair in pairs.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _merged(pipeline: Any, *specs: AdapterSpec) -> tuple[Tensor, Tensor]:
    merge(pipeline, read_updates(pipeline, specs))
    return _outputs(pipeline)


def _whole(pairs: Pairs) -> Pairs:
    return pairs


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (spellings.kohya, _whole),
        (spellings.diffusers, _whole),
        (spellings.diffusers_before_peft, _whole),
        (spellings.old_processors, spellings.attention_only),
        (spellings.peft, spellings.part_only("unet")),
        (spellings.peft, spellings.part_only("text_encoder")),
    ],
)
@pytest.mark.parametrize("strength", [1.0, -0.5])
def test_every_spelling_merges_to_what_its_layers_give_beside_the_base(
    pipeline: SimpleNamespace,
    pairs: Pairs,
    tmp_path: Path,
    written: Callable[[Pairs, Path], Path],
    kept: Callable[[Pairs], Pairs],
    strength: float,
) -> None:
    pairs, before = kept(pairs), _outputs(pipeline)
    with _beside(pipeline, pairs, strength):
        expected = _outputs(pipeline)
    found = _merged(pipeline, AdapterSpec(written(pairs, tmp_path), strength))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * float(theirs.abs().max()))
    assert float((found[0] - before[0]).abs().max()) > 0.01


def test_the_kernel_of_locon_may_be_between_its_factors(pipeline: SimpleNamespace, tmp_path: Path) -> None:
    layer = _layer(pipeline, "unet", LAYERS["unet"][-1])
    draw = torch.Generator().manual_seed(2)
    down, mid, up = (
        torch.randn(shape, generator=draw)
        for shape in ((3, layer.weight.shape[1], 1, 1), (3, 3, 3, 3), (len(layer.weight), 3, 1, 1))
    )
    name = f"lora_unet_{LAYERS['unet'][-1].replace('.', '_')}"
    tensors = {
        f"{name}.lora_{role}.weight": tensor for role, tensor in (("down", down), ("mid", mid), ("up", up))
    }
    save_file({**tensors, f"{name}.alpha": torch.tensor(1.5)}, tmp_path / "locon.safetensors")
    picture = torch.randn((2, layer.weight.shape[1], 6, 6), generator=draw)
    low = functional.conv2d(functional.conv2d(picture, down), mid, padding=layer.padding)
    expected = layer(picture) + 0.5 * functional.conv2d(low, up)
    merge(pipeline, read_updates(pipeline, [AdapterSpec(tmp_path / "locon.safetensors")]))
    torch.testing.assert_close(layer(picture), expected, rtol=TOLERANCE, atol=1e-4)


def test_without_an_alpha_it_is_the_rank_and_rslora_divides_by_its_root(
    pipeline: SimpleNamespace, pairs: Pairs, tmp_path: Path
) -> None:
    layers = spellings.part_only("unet")(pairs)
    plain = load_file(spellings.kohya(layers, tmp_path))
    save_file(
        {name: tensor for name, tensor in plain.items() if not name.endswith(".alpha")},
        tmp_path / "kohya.safetensors",
    )
    (without,) = read_updates(pipeline, [AdapterSpec(tmp_path / "kohya.safetensors", 0.5)])
    assert {update.factor for update in without} == {0.5}
    (rooted,) = read_updates(pipeline, [AdapterSpec(spellings.peft(layers, tmp_path, use_rslora=True))])
    for update in rooted:
        pair = layers[update.part, update.layer]
        assert update.factor == pytest.approx(pair.alpha / len(pair.down) ** 0.5)


def test_the_fingerprint_is_of_base_and_numbers_whatever_their_spelling_and_order(
    pipeline: SimpleNamespace, pairs: Pairs, tmp_path: Path
) -> None:
    other = AdapterSpec(spellings.old_processors(spellings.attention_only(pairs), tmp_path), 0.5)

    def fingerprint(base: str, *specs: AdapterSpec) -> str:
        return merged_fingerprint(base, read_updates(pipeline, specs))

    kohya, diffusers = (
        AdapterSpec(written(pairs, tmp_path)) for written in (spellings.kohya, spellings.diffusers)
    )
    assert fingerprint("a" * 64) == "a" * 64
    assert fingerprint("a" * 64, kohya, other) == fingerprint("a" * 64, other, diffusers)
    different = {
        "a" * 64,
        fingerprint("a" * 64, kohya),
        fingerprint("b" * 64, kohya),
        fingerprint("a" * 64, AdapterSpec(kohya.path, 0.9)),
        fingerprint("a" * 64, kohya, other),
    }
    assert len(different) == 5


def test_a_generator_is_opened_with_its_adapters_under_a_fingerprint_of_both(
    directory: Path, pairs: Pairs, generator: Generator, tmp_path: Path
) -> None:
    spec = AdapterSpec(spellings.kohya(pairs, tmp_path), 0.5)
    with Generator.open(directory, adapters=[spec]) as adapted, _beside(generator.pipeline, pairs, 0.5):
        for ours, theirs in zip(_outputs(adapted.pipeline), _outputs(generator.pipeline), strict=True):
            torch.testing.assert_close(
                ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * float(theirs.abs().max())
            )
        assert adapted.fingerprint == generator_fingerprint(directory, [spec]) != generator.fingerprint
        assert goes_by(generator, former_fingerprint(directory))
        assert not goes_by(adapted, former_fingerprint(directory))


def test_a_command_takes_adapters_with_their_strengths(directory: Path, pairs: Pairs, tmp_path: Path) -> None:
    file = spellings.kohya(pairs, tmp_path)
    command = ["generator", "fingerprint", str(directory), "--adapter", f"{file}:0.5", "--adapter", str(file)]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    specs = [AdapterSpec(file, 0.5), AdapterSpec(file)]
    assert ran.output.strip() == generator_fingerprint(directory, specs)


def test_a_lora_in_the_root_is_said_not_to_be_applied_unless_it_is(
    directory: Path, pairs: Pairs, tmp_path: Path
) -> None:
    copied = shutil.copytree(directory, tmp_path / "copied")
    file = spellings.kohya(pairs, copied)
    with Generator.open(copied) as plain:
        assert [str(file) in note for note in plain.notes] == [True]
    with Generator.open(copied, adapters=[AdapterSpec(file)]) as adapted:
        assert adapted.notes == ()


_NAME = f"unet.{LAYERS['unet'][0]}"
_DOWN, _UP = f"{_NAME}.lora_A.weight", f"{_NAME}.lora_B.weight"
_Tensors = dict[str, Tensor]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({f"{_NAME}.dora_scale": torch.ones(16)}, "DoRA"),
        ({f"{_NAME}.lora_magnitude_vector": torch.ones(16)}, "DoRA"),
        ({"lora_unet_x.hada_w1_a": torch.ones(2, 2)}, "LoHa"),
        ({"lora_unet_x.lokr_w1": torch.ones(2, 2)}, "LoKr"),
        ({"lora_unet_x.on_input": torch.tensor([True])}, r"\(IA\)\^3"),
        ({"unet.x.oft_R.weight": torch.ones(2, 2)}, "OFT"),
        ({f"{_NAME}.alpha": torch.tensor(0.0)}, "alpha 0 at unet layer"),
        ({f"{_NAME}.alpha": torch.tensor(torch.nan)}, "holds NaN"),
        ({f"{_NAME}.alpha": torch.ones(2)}, "alpha of shape"),
        ({_UP: torch.full((16, 2), torch.nan)}, "holds NaN"),
        ({_UP: torch.ones((16, 2), dtype=torch.int8)}, "int8, not a float type"),
        ({_UP: None}, "without its up matrix"),
        ({_DOWN: None}, "without its down matrix"),
        ({_UP: torch.ones(16, 3)}, r"does not fit unet layer .* up \(16, 3\)"),
        ({_DOWN: torch.ones(2, 17)}, r"does not fit unet layer .* down \(2, 17\)"),
        ({f"{_NAME}x.lora_A.weight": torch.ones(2, 2)}, f"does not have .*{_NAME}x"),
        ({"lora_te2_text_model_x.lora_up.weight": torch.ones(2, 2)}, "does not have .*lora_te2_"),
        ({f"{_NAME}.bias": torch.ones(2)}, f"{_NAME}.bias, which are no keys of LoRA"),
        ({f"{_NAME}.lora.up.weight": torch.ones(16, 2)}, "two tensors for one place"),
    ],
)
def test_an_adapter_that_cannot_be_merged_whole_is_refused_with_its_file_and_key(
    pipeline: SimpleNamespace, tmp_path: Path, changed: dict[str, Tensor | None], reason: str
) -> None:
    tensors: dict[str, Tensor | None] = {_DOWN: torch.ones(2, 16), _UP: torch.ones(16, 2), **changed}
    path = tmp_path / "bad.safetensors"
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    with pytest.raises(InvalidInput, match=rf"bad\.safetensors.*{reason}|{reason}.*bad\.safetensors"):
        read_updates(pipeline, [AdapterSpec(path)])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"peft_type": "LOHA"}, "peft_type LOHA"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa"),
        ({"r": 9}, "its configuration states 9"),
        ({"lora_alpha": 0}, "alpha 0"),
        ({"lora_alpha": "much"}, "cannot be read"),
        ({"rank_pattern": {"(": 2}}, "cannot be read"),
    ],
)
def test_a_configuration_of_peft_that_is_not_of_plain_lora_is_refused(
    pipeline: SimpleNamespace, pairs: Pairs, tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    folder = spellings.peft(spellings.part_only("unet")(pairs), tmp_path, **settings)
    with pytest.raises(InvalidInput, match=reason):
        read_updates(pipeline, [AdapterSpec(folder)])


def test_files_that_are_cut_missing_empty_or_without_their_configuration_are_refused(
    pipeline: SimpleNamespace, pairs: Pairs, tmp_path: Path
) -> None:
    cut = spellings.kohya(pairs, tmp_path)
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(InvalidInput, match=r"kohya\.safetensors is incomplete"):
        read_updates(pipeline, [AdapterSpec(cut)])
    with pytest.raises(NotReady, match="no adapter at"):
        read_updates(pipeline, [AdapterSpec(tmp_path / "nothing")])
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(InvalidInput, match="holds no tensors"):
        read_updates(pipeline, [AdapterSpec(tmp_path / "empty.safetensors")])
    folder = spellings.peft(spellings.part_only("unet")(pairs), tmp_path)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(InvalidInput, match=r"lora_alpha.* is in adapter_config\.json"):
        read_updates(pipeline, [AdapterSpec(folder)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.safetensors", AdapterSpec(Path("a.safetensors"))),
        ("a.safetensors:0.75", AdapterSpec(Path("a.safetensors"), 0.75)),
        ("a:b:-1", AdapterSpec(Path("a:b"), -1.0)),
        ("a:b", AdapterSpec(Path("a:b"))),
    ],
)
def test_a_specification_is_a_file_with_an_optional_strength(text: str, expected: AdapterSpec) -> None:
    assert AdapterSpec.parse(text) == expected
    assert AdapterSpec.parse(str(expected)) == expected


@pytest.mark.parametrize("strength", ["0", "-0.0", "nan", "inf"])
def test_a_strength_that_changes_nothing_or_everything_is_refused(strength: str) -> None:
    with pytest.raises(InvalidInput, match="give a finite number other than 0"):
        AdapterSpec.parse(f"a.safetensors:{strength}")


def test_a_strength_that_takes_weights_beyond_float32_is_refused(
    pipeline: SimpleNamespace, pairs: Pairs, tmp_path: Path
) -> None:
    updates = read_updates(pipeline, [AdapterSpec(spellings.kohya(pairs, tmp_path), 1e39)])
    with pytest.raises(InvalidInput, match="beyond float32; lower their strength"):
        merge(pipeline, updates)
