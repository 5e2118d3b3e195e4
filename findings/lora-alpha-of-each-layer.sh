#!/usr/bin/env bash
# diffusers 0.42.1 with peft 0.21.2: a LoRA file whose layers have different alphas is applied with one alpha for all.
#
# Setting: a LoRA file in kohya's spelling (`lora_unet_….lora_down.weight`, `….lora_up.weight`, `….alpha`), as training tools
#   write it; rank 4 everywhere, alpha 4 in most layers, 2 and 1 in some. It is loaded into a UNet by the functions that
#   StableDiffusionPipeline.load_lora_weights calls, and then fused.
# Expected: each layer's weight changes by (alpha / rank) * up @ down with the alpha that the file states for that layer.
# Seen: every layer gets the most common alpha of the file: the layers with alpha 2 and 1 change 2 and 4 times too much,
#   without a warning. The file's alphas are passed on as a pattern by layer whose names do not match the modules' names.
#
# Output seen:
#   alpha 4 (6 layers): applied over stated 1.000
#   alpha 2 (3 layers): applied over stated 2.000
#   alpha 1 (3 layers): applied over stated 4.000
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/environment"
"$scratch/environment/bin/python" -m pip install --quiet torch==2.14.1 diffusers==0.42.1 transformers==5.23.0 peft==0.21.2 \
  accelerate==1.15.0 safetensors==0.8.0 numpy==2.4.6
cat > "$scratch/lora_alphas.py" <<'PYTHON'
import sys
import warnings
from collections import defaultdict

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
RANK, ALPHAS = 4, (4.0, 4.0, 1.0, 2.0)

torch.manual_seed(0)
unet = UNet2DConditionModel(
    sample_size=8,
    down_block_types=("CrossAttnDownBlock2D",),
    up_block_types=("CrossAttnUpBlock2D",),
    block_out_channels=(16,),
    layers_per_block=1,
    cross_attention_dim=8,
    attention_head_dim=4,
    norm_num_groups=8,
).requires_grad_(False)

layers = {
    name: module
    for name, module in unet.named_modules()
    if "attn2" in name and name.endswith(("to_q", "to_k", "to_v"))
}
tensors, stated = {}, {}
for number, (name, module) in enumerate(layers.items()):
    alpha = ALPHAS[number % len(ALPHAS)]
    down, up = torch.randn(RANK, module.in_features), torch.randn(module.out_features, RANK)
    key = "lora_unet_" + name.replace(".", "_")
    tensors |= {
        f"{key}.lora_down.weight": down,
        f"{key}.lora_up.weight": up,
        f"{key}.alpha": torch.tensor(alpha),
    }
    stated[name] = (alpha, alpha / RANK * up @ down)
before = {name: module.weight.clone() for name, module in layers.items()}
path = f"{sys.argv[1]}/adapter.safetensors"
save_file(tensors, path)

state, alphas, *_ = StableDiffusionLoraLoaderMixin.lora_state_dict(path, unet_config=unet.config)
StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, alphas, unet, adapter_name="one")
unet.fuse_lora()

factors = defaultdict(list)
for name, (alpha, change) in stated.items():
    module = unet.get_submodule(name)
    applied = getattr(module, "base_layer", module).weight - before[name]
    factors[alpha].append(float((applied * change).sum() / change.square().sum()))
as_before = True
for alpha in sorted(factors, reverse=True):
    mean = sum(factors[alpha]) / len(factors[alpha])
    as_before &= abs(mean - max(ALPHAS) / alpha) < 1e-3
    print(f"alpha {alpha:.0f} ({len(factors[alpha])} layers): applied over stated {mean:.3f}")
sys.exit(0 if as_before else "the behaviour has changed")
PYTHON
OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "$scratch/environment/bin/python" "$scratch/lora_alphas.py" "$scratch"
