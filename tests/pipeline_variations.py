"""Variations of a pipeline directory: what people bring, good and bad, each written by one function.

Every function changes a directory of `tests.pipelines.stable_diffusion_15` in place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from creditline.generator.adapters.specification import AdapterSpec
from creditline.generator.pipeline import Generator

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
WEIGHTS = (UNET, VAE, TEXT)
_CROSS = "mid_block.attentions.0.transformer_blocks.0.attn2"

Change = Callable[[Path], object]
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Variation:
    """A kind of directory, and what is right for it."""

    change: Change
    """Changes a plain directory into this kind."""
    same_as: str | None = "plain"
    """Name of the good kind with the same fingerprint; None: a fingerprint of its own."""
    adapters: tuple[str, ...] = ()
    """Adapters to merge, by their names in the directory, each `NAME` or `NAME:strength`."""


@dataclass(frozen=True)
class Fault:
    """A kind of directory that is refused."""

    change: Change
    """Changes a plain directory into this kind."""
    file: str
    """The file or folder that the sentence names."""
    key: str = ""
    """A key or value that the sentence names."""
    adapters: tuple[str, ...] = ()
    """Adapters to merge, as of `Variation`."""


def opened(directory: Path, kind: Variation | Fault) -> Generator:
    """Open a changed directory with the adapters of its kind."""
    return Generator.open(
        directory, adapters=[AdapterSpec.parse(str(directory / name)) for name in kind.adapters]
    )


def edit(directory: Path, file: str, change: Callable[[Tensors], Mapping[str, Tensor]]) -> None:
    """Replace the tensors of a safetensors file."""
    path = directory / file
    tensors = {name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})


def settings(file: str, **changed: object) -> Change:
    """Change settings of a JSON file; None removes one."""

    def change(directory: Path) -> None:
        path = directory / file
        found = {**json.loads(path.read_text()), **changed}
        path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))

    return change


def _added(file: str, **tensors: Tensor) -> Change:
    return lambda directory: edit(
        directory, file, lambda found: {**found, **{n.replace("__", "."): t for n, t in tensors.items()}}
    )


def _without(file: str, word: str) -> Change:
    return lambda directory: edit(
        directory, file, lambda found: {name: value for name, value in found.items() if word not in name}
    )


def _renamed(file: str, *pairs: tuple[str, str]) -> Change:
    def rename(name: str) -> str:
        for old, new in pairs:
            name = name.replace(old, new)
        return name

    return lambda directory: edit(
        directory, file, lambda found: {rename(name): value for name, value in found.items()}
    )


def _value(file: str, number: float) -> Change:
    def broken(found: Tensors) -> Tensors:
        next(found[name] for name in sorted(found) if name.endswith("attn2.to_k.weight"))[0, 0] = number
        return found

    return lambda directory: edit(directory, file, broken)


def _converted(dtype: torch.dtype) -> Change:
    def change(directory: Path) -> None:
        for file in WEIGHTS:
            edit(
                directory,
                file,
                lambda found: {
                    name: value.to(dtype) if value.is_floating_point() else value
                    for name, value in found.items()
                },
            )

    return change


def _as_variant(directory: Path) -> None:
    _converted(torch.float16)(directory)
    for file in WEIGHTS:
        path = directory / file
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))


def _bin_name(path: Path) -> Path:
    return path.with_name(
        path.name.replace(".safetensors", ".bin").replace("model.bin", "model.bin")
    ).with_stem("pytorch_model" if path.name.startswith("model") else path.stem)


def _pickled(directory: Path) -> None:
    for file in WEIGHTS:
        path = directory / file
        torch.save(load_file(path), _bin_name(path))
        path.unlink()


def sharded(directory: Path, *, file: str = UNET, variant: str = "", pickled: bool = False) -> Path:
    """Split a file in two shards with an index, as `save_pretrained` writes them; returns the index."""
    path = directory / file
    tensors = load_file(path)
    path.unlink()
    target = _bin_name(path) if pickled else path
    names, weight_map = sorted(tensors), {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), start=1):
        stem = f"{target.stem}.{variant}" if variant else target.stem
        shard = target.with_name(f"{stem}-0000{number}-of-00002{target.suffix}")
        held = {name: tensors[name] for name in part}
        if pickled:
            torch.save(held, shard)
        else:
            save_file(held, shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, shard.name)
    index = target.with_name(f"{target.name}.index{f'.{variant}' if variant else ''}.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def _sharded_variant(directory: Path) -> None:
    _as_variant(directory)
    path = directory / UNET
    path.with_name("diffusion_pytorch_model.fp16.safetensors").rename(path)
    sharded(directory, variant="fp16")


def _index_edited(change: Callable[[dict[str, str]], object]) -> Change:
    def write(directory: Path) -> None:
        index = sharded(directory)
        content = json.loads(index.read_text())
        change(content["weight_map"])
        index.write_text(json.dumps(content))

    return write


def _saved_again(directory: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(directory, local_files_only=True, safety_checker=None)
    shutil.rmtree(directory)
    pipeline.save_pretrained(directory)


def _copies_beside(directory: Path) -> None:
    (directory / "unet" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (directory / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    shutil.copy(directory / UNET, directory / "unet" / "diffusion_pytorch_model (1).safetensors")
    shutil.copy(directory / TEXT, directory / "text_encoder" / "model.safetensors.bak")
    edit(directory, VAE, lambda found: found)
    shutil.copy(directory / VAE, directory / "vae" / "diffusion_pytorch_model.ema.safetensors")


def lora_tensors() -> Tensors:
    """A LoRA of one layer in diffusers' spelling."""
    return {
        f"unet.{_CROSS}.to_k.lora_A.weight": torch.ones(2, 32),
        f"unet.{_CROSS}.to_k.lora_B.weight": torch.ones(32, 2),
    }


def _lora_at(file: str, **more: Tensor) -> Change:
    return lambda directory: save_file(
        {**lora_tensors(), **{f"unet.{_CROSS}.to_k.{name}": value for name, value in more.items()}},
        directory / file,
    )


def _kohya_lora(directory: Path) -> None:
    down, up = lora_tensors().values()
    name = f"lora_unet_{_CROSS}.to_k".replace(".", "_")
    tensors = {
        f"{name}.lora_down.weight": down,
        f"{name}.lora_up.weight": up,
        f"{name}.alpha": torch.tensor(2.0),
    }
    save_file(tensors, directory / "kohya.safetensors")


def _peft_lora(directory: Path) -> None:
    folder = directory / "peft"
    folder.mkdir()
    names = {name: name.replace("unet.", "base_model.model.", 1) for name in lora_tensors()}
    tensors = {names[name]: value for name, value in lora_tensors().items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2}))


def _half_a_pair(directory: Path) -> None:
    down, _ = lora_tensors().items()
    save_file(dict([down]), directory / "lora.safetensors")


def _textual_inversion(directory: Path, *, embedded: bool = True) -> None:
    """A learned word: one token more, and one row more in the embedding."""
    words = json.loads((directory / "tokenizer" / "vocab.json").read_text())
    (directory / "tokenizer" / "added_tokens.json").write_text(json.dumps({"<my-cat>": len(words)}))
    if embedded:
        name = "text_model.embeddings.token_embedding.weight"
        edit(directory, TEXT, lambda found: {**found, name: torch.cat([found[name], torch.ones(1, 32)])})
        settings("text_encoder/config.json", vocab_size=len(words) + 1)(directory)


def _cut(file: str) -> Change:
    def cut(directory: Path) -> None:
        path = directory / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    return cut


def _both(*changes: Change) -> Change:
    def change(directory: Path) -> None:
        for each in changes:
            each(directory)

    return change


def _with_projection(directory: Path) -> None:
    """The text encoder of another pipeline, which gives one projected vector for a prompt."""
    settings("model_index.json", text_encoder=["transformers", "CLIPTextModelWithProjection"])(directory)
    edit(directory, TEXT, lambda found: {**found, "text_projection.weight": torch.eye(32)})


class _Code:
    """Unpickled as a call: no weights."""

    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        return str, ("run",)


def _code_in_pickle(directory: Path) -> None:
    _pickled(directory)
    torch.save({"conv_in.weight": _Code()}, directory / "unet" / "diffusion_pytorch_model.bin")


def _two_variants(directory: Path) -> None:
    path = directory / UNET
    shutil.copy(path, path.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))


GOOD: dict[str, Variation] = {
    "plain": Variation(lambda directory: None, same_as=None),
    "saved again by diffusers": Variation(_saved_again),
    "sharded": Variation(sharded),
    "sharded VAE with old names": Variation(lambda directory: sharded(directory, file=VAE)),
    "sharded text encoder": Variation(lambda directory: sharded(directory, file=TEXT)),
    "pickled weights": Variation(_pickled),
    "pickled shards": Variation(lambda directory: sharded(directory, pickled=True)),
    "copies and .DS_Store beside": Variation(_copies_beside),
    "no safety checker's folder": Variation(lambda directory: shutil.rmtree(directory / "safety_checker")),
    "no entries for what is not loaded": Variation(
        settings("model_index.json", safety_checker=None, feature_extractor=None)
    ),
    "null image encoder": Variation(
        settings("model_index.json", image_encoder=[None, None], feature_extractor=[None, None])
    ),
    "today's names in the VAE": Variation(
        _renamed(
            VAE,
            (".query.", ".to_q."),
            (".key.", ".to_k."),
            (".value.", ".to_v."),
            (".proj_attn.", ".to_out.0."),
        )
    ),
    "text encoder without prefix": Variation(_renamed(TEXT, ("text_model.", ""))),
    "LoRA file in the root": Variation(_lora_at("pytorch_lora_weights.safetensors")),
    "half precision": Variation(_converted(torch.float16), same_as=None),
    "fp16 variant": Variation(_as_variant, same_as="half precision"),
    "sharded fp16 variant": Variation(_sharded_variant, same_as="half precision"),
    "bfloat16": Variation(_converted(torch.bfloat16), same_as=None),
    "another scheduler in the index": Variation(
        settings("model_index.json", scheduler=["diffusers", "DDIMScheduler"]), same_as=None
    ),
    "v-prediction": Variation(
        settings("scheduler/scheduler_config.json", prediction_type="v_prediction"), same_as=None
    ),
    "textual inversion": Variation(_textual_inversion, same_as=None),
    "adapter": Variation(_lora_at("lora.safetensors"), same_as=None, adapters=("lora.safetensors",)),
    "adapter in kohya's spelling": Variation(_kohya_lora, same_as="adapter", adapters=("kohya.safetensors",)),
    "adapter in peft's folder": Variation(_peft_lora, same_as="adapter", adapters=("peft",)),
    "weaker adapter": Variation(
        _lora_at("lora.safetensors"), same_as=None, adapters=("lora.safetensors:0.5",)
    ),
}
BAD: dict[str, Fault] = {
    "DoRA": Fault(
        _lora_at("lora.safetensors", dora_scale=torch.ones(32, 1)),
        "lora.safetensors",
        "dora_scale",
        adapters=("lora.safetensors",),
    ),
    "alpha 0": Fault(
        _lora_at("lora.safetensors", alpha=torch.tensor(0.0)),
        "lora.safetensors",
        "attn2.to_k",
        adapters=("lora.safetensors",),
    ),
    "half a pair": Fault(_half_a_pair, "lora.safetensors", "attn2.to_k", adapters=("lora.safetensors",)),
    "adapter of another shape": Fault(
        _both(
            _lora_at("lora.safetensors"),
            lambda directory: edit(
                directory,
                "lora.safetensors",
                lambda found: {name: value[:, :1] for name, value in found.items()},
            ),
        ),
        "lora.safetensors",
        "attn2.to_k",
        adapters=("lora.safetensors",),
    ),
    "unmerged LoRA": Fault(
        _both(
            _renamed(UNET, (f"{_CROSS}.to_k.weight", f"{_CROSS}.to_k.base_layer.weight")),
            _added(UNET, **{f"{_CROSS}.to_k.lora_A.default.weight".replace(".", "__"): torch.ones(2, 32)}),
        ),
        UNET,
        "to_k.lora_A.default.weight",
    ),
    "IP-adapter": Fault(
        _added(UNET, **{f"{_CROSS}.processor.to_k_ip.weight".replace(".", "__"): torch.ones(32, 32)}),
        UNET,
        "processor.to_k_ip.weight",
    ),
    "no cross-attention": Fault(_without(UNET, "attn2"), UNET, "attn2.to_"),
    "no norms": Fault(_without(UNET, ".norm1."), UNET, "norm1."),
    "VAE without post_quant_conv": Fault(_without(VAE, "post_quant_conv"), VAE, "post_quant_conv.bias"),
    "another text encoder": Fault(
        _renamed(TEXT, ("text_model.encoder.layers", "transformer.resblocks")),
        TEXT,
        "transformer.resblocks.0",
    ),
    "weights of another shape": Fault(
        settings("text_encoder/config.json", intermediate_size=48),
        TEXT,
        "mlp.fc1.bias of (64,) instead of (48,)",
    ),
    "adapter in a part's folder": Fault(
        _lora_at("unet/pytorch_lora_weights.safetensors"),
        "unet/pytorch_lora_weights.safetensors",
        "to_k.lora_A",
    ),
    "peft's adapter in a part's folder": Fault(
        lambda directory: (directory / "text_encoder" / "adapter_config.json").write_text("{}"),
        "text_encoder/adapter_config.json",
    ),
    "index names what no shard holds": Fault(
        _index_edited(lambda named: named.update({"conv_in.extra": named["conv_in.bias"]})),
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "conv_in.extra",
    ),
    "shard holds what the index does not name": Fault(
        _index_edited(lambda named: named.pop("conv_in.bias")),
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "conv_in.bias",
    ),
    "missing shard": Fault(
        lambda directory: (
            sharded(directory).with_name("diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
        ),
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model-00002-of-00002.safetensors",
    ),
    "NaN": Fault(_value(UNET, float("nan")), UNET, "attn2.to_k.weight"),
    "infinite": Fault(_value(UNET, float("inf")), UNET, "attn2.to_k.weight"),
    "flow matching": Fault(
        settings("model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]),
        "scheduler/scheduler_config.json",
        "FlowMatchEulerDiscreteScheduler",
    ),
    "flow sigmas": Fault(
        _both(
            settings("model_index.json", scheduler=["diffusers", "UniPCMultistepScheduler"]),
            settings(
                "scheduler/scheduler_config.json",
                use_flow_sigmas=True,
                prediction_type="flow_prediction",
                skip_prk_steps=None,
            ),
        ),
        "scheduler/scheduler_config.json",
        "flow matching",
    ),
    "another text dimension": Fault(settings("unet/config.json", cross_attention_dim=48), "", "48"),
    "another number of latent channels": Fault(settings("vae/config.json", latent_channels=16), "", "16"),
    "inpainting": Fault(settings("unet/config.json", in_channels=9), "", "9 channels"),
    "cut weights": Fault(_cut(UNET), UNET),
    "cut pickle": Fault(
        _both(_pickled, _cut("unet/diffusion_pytorch_model.bin")), "unet/diffusion_pytorch_model.bin"
    ),
    "cut configuration": Fault(_cut("vae/config.json"), "vae/config.json"),
    "cut index": Fault(
        _both(sharded, _cut("unet/diffusion_pytorch_model.safetensors.index.json")),
        "unet/diffusion_pytorch_model.safetensors.index.json",
    ),
    "code in a pickle": Fault(_code_in_pickle, "unet/diffusion_pytorch_model.bin"),
    "Git LFS pointer": Fault(
        lambda directory: (directory / UNET).write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        UNET,
        "git lfs pull",
    ),
    "no weights": Fault(lambda directory: (directory / UNET).unlink(), "unet", "config.json"),
    "two variants": Fault(_two_variants, "unet", "fp16, non_ema"),
    "vocabulary without merges": Fault(
        lambda directory: (directory / "tokenizer" / "merges.txt").unlink(), "tokenizer", "merges.txt"
    ),
    "integers instead of weights": Fault(
        lambda directory: edit(
            directory, UNET, lambda found: {**found, "conv_in.bias": found["conv_in.bias"].to(torch.int8)}
        ),
        UNET,
        "conv_in.bias of int8",
    ),
    "text vectors after a projection": Fault(_with_projection, "text_encoder", "(1, 32)"),
    "UNet without prompts": Fault(
        settings("model_index.json", unet=["diffusers", "UNet2DModel"]), "model_index.json", "UNet2DModel"
    ),
    "no vocabulary": Fault(
        lambda directory: (directory / "tokenizer" / "vocab.json").unlink(), "tokenizer", "vocab.json"
    ),
    "learned word without embedding": Fault(
        lambda directory: _textual_inversion(directory, embedded=False), "", "1714"
    ),
    "another pipeline": Fault(
        settings("model_index.json", _class_name="StableDiffusionXLPipeline"),
        "model_index.json",
        "StableDiffusionXLPipeline",
    ),
    "code of its own": Fault(
        settings("model_index.json", unet=["my_unet", "MyUNet"]), "model_index.json", "my_unet.MyUNet"
    ),
}
