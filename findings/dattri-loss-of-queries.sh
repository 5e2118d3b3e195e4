#!/usr/bin/env bash
# dattri 0.3.0: LoGRA, FactGraSS and their base take queries' gradients of cross-entropy, whatever loss the task has.
#
# Setting: a denoiser of six numbers, whose task has the squared error of the noise as its loss. The same twelve pairs are
#   training examples and queries; nothing is compressed and the Hessian is the identity, so that scores are the inner
#   products of gradients.
# Expected: both gradients are of the task's loss (no other target function is given), so that the scores are symmetric and
#   equal the products of the squared error's gradients, as in dattri's other methods.
# Seen: works' gradients are of the task's loss, queries' gradients of torch's cross_entropy. Where targets have the shape of
#   the outputs, as in denoising and in regression, cross_entropy takes them for probabilities and nothing fails: the scores
#   are products of gradients of two different losses, and their order is another one.
#   (Biases are left out, since the exact form of the class does not take them. Batches of a dictionary use the model's loss.)
#
# Output seen:
#   largest difference from squared error with squared error: 19.757
#   largest difference from squared error with cross-entropy: 0.000
#   largest asymmetry of the scores: 4.552
#   queries whose first work is another one: 4 of 12
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/environment"
"$scratch/environment/bin/python" -m pip install --quiet dattri==0.3.0 torch==2.14.1 numpy==2.4.6 scipy==1.17.1 \
  pyyaml==6.0.3 tqdm==4.70.1 pretty_midi==0.2.11.post0
cat > "$scratch/queries.py" <<'PYTHON'
import sys

import torch
from dattri.algorithm import BlockProjectedIFAttributor
from dattri.task import AttributionTask
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PAIRS, WIDTH, HIDDEN = 12, 6, 8
EXACT = {"proj_type": "identity", "proj_dim": -1, "proj_max_batch_size": 64, "device": "cpu"}


def squared_error(model, batch, device):
    noisy, noise = batch
    return nn.functional.mse_loss(model(noisy), noise)


def gradients(model, pairs, loss):
    rows = []
    for noisy, noise in pairs.dataset:
        parts = torch.autograd.grad(loss(model(noisy[None]), noise[None]), list(model.parameters()))
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(WIDTH, HIDDEN, bias=False), nn.Tanh(), nn.Linear(HIDDEN, WIDTH, bias=False))
noise = torch.randn(PAIRS, WIDTH)
pairs = DataLoader(TensorDataset(torch.randn(PAIRS, WIDTH) + noise, noise), batch_size=4)
squared = gradients(model, pairs, nn.functional.mse_loss)
crossed = gradients(model, pairs, nn.functional.cross_entropy)

task = AttributionTask(loss_func=squared_error, model=model, checkpoints=model.state_dict())
attributor = BlockProjectedIFAttributor(
    task, ["0", "2"], hessian="Identity", offload="none", sparsifier_kwargs=EXACT, projector_kwargs=EXACT
)
attributor.cache(pairs)
scores = attributor.attribute(pairs, pairs)

of_task = float((scores - squared @ squared.T).abs().max())
of_cross_entropy = float((scores - squared @ crossed.T).abs().max())
first = (squared @ squared.T).argmax(dim=0)
print(f"largest difference from squared error with squared error: {of_task:.3f}")
print(f"largest difference from squared error with cross-entropy: {of_cross_entropy:.3f}")
print(f"largest asymmetry of the scores: {float((scores - scores.T).abs().max()):.3f}")
print(f"queries whose first work is another one: {int((scores.argmax(dim=0) != first).sum())} of {PAIRS}")
sys.exit(0 if of_cross_entropy < 1e-4 < 1.0 < of_task else "the behaviour has changed")
PYTHON
# Without a compiler's minute: the results are the same. The attributor leaves a file where it runs.
cd "$scratch"
TORCHDYNAMO_DISABLE=1 "$scratch/environment/bin/python" "$scratch/queries.py" 2> "$scratch/errors" \
  || { cat "$scratch/errors" >&2; exit 1; }
