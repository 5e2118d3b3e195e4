#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.14.1: in bfloat16, a scheduler's add_noise adds no noise at all at the first timesteps.
#
# Setting: Stable Diffusion's schedule (1,000 timesteps, scaled_linear, beta 0.00085 to 0.012); latents and noise in
#   bfloat16, as mixed-precision training and every loss of a picture under a model that was loaded in bfloat16 have them.
# Expected: the noise added at timestep t has the scale sqrt(1 - alphas_cumprod[t]), rounded to bfloat16 (three digits):
#   0.0292 at t = 0 and 1,000 different scales, or nearly so.
# Seen: alphas_cumprod itself is rounded to bfloat16 before it is taken from 1. Near 1, bfloat16 has steps of 0.0039, so
#   DDPMScheduler, DDIMScheduler and PNDMScheduler add nothing at t = 0 and 1 (the noise to be predicted is not in the
#   input), twice the noise at t = 2, and have 192 different scales in all. float16 is 7 % off at t = 0.
#   EulerDiscreteScheduler, on the same schedule, rounds the scale itself and is right: a loss at one timestep is another
#   loss under another scheduler class.
#
# Output seen:
#   float32  DDPM  t=0 0.0292  t=1 0.0413  t=2 0.0506  t=50 0.2201  distinct 1000
#   bfloat16 DDPM  t=0 0.0000  t=1 0.0000  t=2 0.0625  t=50 0.2168  distinct 192
#   bfloat16 DDIM  t=0 0.0000  t=1 0.0000  t=2 0.0625  t=50 0.2168  distinct 192
#   bfloat16 PNDM  t=0 0.0000  t=1 0.0000  t=2 0.0625  t=50 0.2168  distinct 192
#   float16  DDPM  t=0 0.0312  t=1 0.0383  t=2 0.0494  t=50 0.2198  distinct 762
#   bfloat16 Euler t=0 0.0292
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/environment"
"$scratch/environment/bin/python" -m pip install --quiet torch==2.14.1 diffusers==0.42.1 numpy==2.4.6
cat > "$scratch/noise_levels.py" <<'PYTHON'
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, PNDMScheduler

SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
latents = torch.zeros(1, 4, 8, 8)
noise = torch.ones(1, 4, 8, 8)


def scale(scheduler, dtype, timestep):
    noisy = scheduler.add_noise(latents.to(dtype), noise.to(dtype), timestep.reshape(1))
    return float(noisy.float().mean())


def report(name, kind, dtype):
    scheduler = kind(**SCHEDULE)
    scales = [scale(scheduler, dtype, torch.tensor(t)) for t in range(1000)]
    shown = "  ".join(f"t={t} {scales[t]:.4f}" for t in (0, 1, 2, 50))
    print(f"{str(dtype).removeprefix('torch.'):8s} {name}  {shown}  distinct {len(set(scales))}")
    return scales


exact = report("DDPM", DDPMScheduler, torch.float32)
coarse = {
    name: report(name, kind, torch.bfloat16)
    for name, kind in (("DDPM", DDPMScheduler), ("DDIM", DDIMScheduler), ("PNDM", PNDMScheduler))
}
report("DDPM", DDPMScheduler, torch.float16)
euler = EulerDiscreteScheduler(**SCHEDULE)
first = scale(euler, torch.bfloat16, euler.timesteps[-1])
print(f"bfloat16 Euler t=0 {first:.4f}")

assert len(set(exact)) == 1000 and abs(exact[0] - 0.0292) < 1e-4
for scales in coarse.values():
    assert scales[0] == scales[1] == 0.0 and scales[2] == 0.0625 and len(set(scales)) == 192
assert abs(first - 0.0292) < 1e-3
PYTHON
"$scratch/environment/bin/python" "$scratch/noise_levels.py"
