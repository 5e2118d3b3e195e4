"""What each single draw says of the works once a query is forgotten: what a fast teacher is chosen by.

For some queries the full teacher's step is taken, and every work's change of loss is kept draw by draw, with
the first-order part of the same draw beside it. Any estimator from fewer passes is then a sum over these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import moved_parameters, per_sample_gradients
from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.unlearning.fast_teacher import CONTROL_DRAWS
from creditline.attribution.unlearning.forgetting import Forgetting
from creditline.evaluation.lab.setting import LabSetting
from creditline.evaluation.lab.tensor_file import read_arrays, write_arrays
from creditline.generator.losses import LOSS, Draws, denoising_losses

# Other noise than the full teacher's own.
EACH_DRAW = Draws(timesteps=20, repeats=1, salt="again")
_WORKS_PER_BLOCK = 20


@dataclass(frozen=True)
class DrawRecord:
    """rows: (Q,) the lab's queries; changes, first_order: (Q, N, draws), of the loss at each of `EACH_DRAW`;
    controls: (Q, N), the first-order part over `CONTROL_DRAWS`; step_passes: (Q,), what the steps cost."""

    rows: NDArray[np.int64]
    changes: NDArray[np.float32]
    first_order: NDArray[np.float32]
    controls: NDArray[np.float32]
    step_passes: NDArray[np.float32]


def collect_draws(
    setting: LabSetting,
    forgetting: Forgetting,
    rows: Sequence[int],
    directory: Path,
    parameters: ParameterChoice = "cross-attn",
) -> DrawRecord:
    """Take the steps, then walk over the works' gradients once; resumes at any query and any block of works.

    forgetting: moves no other layers than `parameters` chooses.
    """
    generator, works, draws = setting.generator, setting.works.examples, len(EACH_DRAW)
    layers = chosen_layers(generator.unet, parameters)
    origin = {
        "generator": generator.fingerprint,
        "corpus": setting.works.fingerprint,
        "loss": LOSS,
        "draws": repr((EACH_DRAW, CONTROL_DRAWS)),
        "queries": repr(tuple(rows)),
        "parameters": parameters,
    }
    before = denoising_losses(generator, works, EACH_DRAW)
    weights = _flat(layers)

    def forget(part: range) -> NDArray[np.float32]:
        """A row of what the step cost, the works' changes, and the step itself."""
        query = setting.queries.examples.rows([rows[part.start]])
        with forgetting.forget(generator, query) as forgotten:
            step = _flat(layers) - weights
            after = denoising_losses(generator, works, EACH_DRAW)
        row: NDArray[np.float32] = np.concatenate(
            [[forgotten.passes], (after - before).flatten().cpu().numpy(), step.cpu().numpy()]
        ).astype(np.float32)
        return row[None]

    forgotten = stored_rows(directory / "steps", origin, len(rows), forget, block=1)
    columns = 1 + len(works) * draws
    steps = torch.from_numpy(np.array(forgotten[:, columns:])).to(generator.device)

    def multiply(part: range) -> NDArray[np.float32]:
        """(works, queries, draws + 1): each draw's gradient times each step, and the control's last."""
        examples = works.rows(part)
        each = per_sample_gradients(generator, examples, EACH_DRAW, layers, by_timestep=True)
        control = per_sample_gradients(generator, examples, CONTROL_DRAWS, layers)
        gradients = torch.cat([each, control[:, None]], dim=1)
        return (gradients @ steps.T).transpose(1, 2).contiguous().cpu().numpy()

    products = stored_rows(directory / "products", origin, len(works), multiply, block=_WORKS_PER_BLOCK)
    by_query = np.array(products).transpose(1, 0, 2)
    return DrawRecord(
        rows=np.array(rows, dtype=np.int64),
        changes=np.array(forgotten[:, 1:columns]).reshape(len(rows), len(works), draws),
        first_order=np.ascontiguousarray(by_query[:, :, :-1]),
        controls=np.ascontiguousarray(by_query[:, :, -1]),
        step_passes=np.array(forgotten[:, 0]),
    )


def write_draws(record: DrawRecord, path: Path) -> None:
    """One safetensors file; numbers by draw in float16, after division by their largest."""
    arrays = {name: getattr(record, name) for name in ("rows", "controls", "step_passes")}
    for name in ("changes", "first_order"):
        values = getattr(record, name)
        scale = np.abs(values).max()
        arrays |= {
            name: (values / scale).astype(np.float16),
            f"{name}_scale": np.array([scale], dtype=np.float32),
        }
    write_arrays(path, arrays, {})


def read_draws(path: Path) -> DrawRecord:
    """Raises NotReady when there is none, InvalidInput when it is cut off."""
    arrays, _ = read_arrays(path, what="record of draws", command="creditline lab draws")
    for name in ("changes", "first_order"):
        arrays[name] = arrays[name].astype(np.float32) * arrays.pop(f"{name}_scale")
    return DrawRecord(**arrays)


def _flat(layers: dict[str, torch.nn.Module]) -> Tensor:
    """All parameters as they are now: (P,)."""
    return torch.cat([values.detach().flatten() for values in moved_parameters(layers)])
