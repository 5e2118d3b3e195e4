"""Changes of the works' losses draw by draw after a query is forgotten, from which a fast teacher is chosen.

For some queries, the full teacher's step is taken; for each draw (timestep and noise), the change of every
work's loss is recorded with its first-order part. Any estimator that uses fewer passes is a sum over these.
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
from creditline.generator.losses import LOSS, Draws, denoising_losses
from creditline.tensor_files import read_artifact, write_arrays

# The salt makes the noise differ from that of the full teacher.
EACH_DRAW = Draws(timesteps=20, repeats=1, salt="again")
_WORKS_PER_BLOCK = 20


@dataclass(frozen=True)
class DrawRecord:
    """Changes of the works' losses by the full teacher's steps, draw by draw."""

    rows: NDArray[np.int64]
    """(Q,) rows of the queries in the lab's record."""
    changes: NDArray[np.float32]
    """(Q, N, draws) change of each work's loss at each draw of `EACH_DRAW`."""
    first_order: NDArray[np.float32]
    """(Q, N, draws) first-order part of `changes`: gradient times step."""
    controls: NDArray[np.float32]
    """(Q, N) first-order part averaged over `CONTROL_DRAWS`, the control variate."""
    step_passes: NDArray[np.float32]
    """(Q,) teacher passes that each step took."""


def collect_draws(
    setting: LabSetting,
    forgetting: Forgetting,
    rows: Sequence[int],
    directory: Path,
    parameters: ParameterChoice = "cross-attn",
) -> DrawRecord:
    """Take the step of each query, then compute the works' gradients once.

    The work is saved by query and by block of works, and resumes there.

    Args:
        setting: The open lab.
        forgetting: The teacher's way of forgetting; it changes only the layers that `parameters` selects.
        rows: Rows of the queries in the lab's record.
        directory: Directory of the intermediate results.
        parameters: The layers whose gradients are computed.

    Raises:
        FingerprintMismatch: The directory holds results of another generator, corpus, loss or query list.
    """
    generator, works, draws = setting.generator, setting.works.examples, len(EACH_DRAW)
    layers = chosen_layers(generator.unet, parameters)
    origin = _origin(setting, rows, parameters)
    before = denoising_losses(generator, works, EACH_DRAW)
    weights = _flat(layers)

    def forget(part: range) -> NDArray[np.float32]:
        """One row: the passes of the step, the changes of the works' losses, and the step itself."""
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
        """(works, queries, draws + 1): the gradient of each draw, then of the control, times each step."""
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


def _origin(setting: LabSetting, rows: Sequence[int], parameters: ParameterChoice) -> dict[str, str]:
    """What the intermediate results are made from."""
    return {
        "generator": setting.generator.fingerprint,
        "corpus": setting.works.fingerprint,
        "loss": LOSS,
        "draws": repr((EACH_DRAW, CONTROL_DRAWS)),
        "queries": repr(tuple(rows)),
        "parameters": parameters,
    }


def write_draws(record: DrawRecord, path: Path) -> None:
    """Write a record as a safetensors file.

    Values by draw are stored in float16, divided by their largest magnitude.
    """
    arrays = {name: getattr(record, name) for name in ("rows", "controls", "step_passes")}
    for name in ("changes", "first_order"):
        values = getattr(record, name)
        scale = np.abs(values).max()
        arrays |= {
            name: (values / scale).astype(np.float16),
            f"{name}_scale": np.array([scale], dtype=np.float32),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays, {})


def read_draws(path: Path) -> DrawRecord:
    """Read a record of draws.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged.
    """
    arrays, _ = read_artifact(
        path, what="record of draws", command="creditline lab draws", remedy="fetch it again", field="lab"
    )
    for name in ("changes", "first_order"):
        arrays[name] = arrays[name].astype(np.float32) * arrays.pop(f"{name}_scale")
    return DrawRecord(**arrays)


def _flat(layers: dict[str, torch.nn.Module]) -> Tensor:
    """Current values of all parameters, concatenated: (P,)."""
    return torch.cat([values.detach().flatten() for values in moved_parameters(layers)])
