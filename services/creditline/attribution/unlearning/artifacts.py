"""The teacher's artifacts, computed once per (generator, corpus): losses, Fisher and the works' gradients.

Each artifact carries the fingerprints of its origin and is refused for any other generator or corpus.
Audits need `statistics.safetensors` (losses, Fisher), which is small. Labels need `gradients.npy`, which is
memory-mapped, and is computed again when it is missing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.fisher.key_value import Fisher, ekfac_fisher
from creditline.attribution.gradients.key_value import gradient_factors, key_value_projections, output_widths
from creditline.attribution.gradients.row_store import read_rows, rows_done, stored_columns
from creditline.errors import FingerprintMismatch, NotReady
from creditline.files import replace_file
from creditline.generator.losses import LOSS, Draws, Examples
from creditline.generator.pipeline import Generator
from creditline.tensor_files import read_artifact, write_tensors

_STATISTICS = "statistics.safetensors"
_TEXT_BASIS, _EIGENVALUES, _OUTPUT_BASIS = "fisher.text", "fisher.eigenvalues", "fisher.outputs"
# Names of stored rows (`gradients.row_store`).
_GRADIENTS, _LOSSES = "gradients", "losses"
_RENAMING = ", or rename the generator in artifacts of before with `creditline generator migrate`"
_WORKS_PER_BLOCK = 48


@dataclass(frozen=True)
class Origin:
    """Origin of an artifact: what it was made from."""

    generator: str
    """Fingerprint of the generator."""
    corpus: str
    """Fingerprint of the corpus."""
    draws: Draws
    """Timesteps and noises of the works' losses and gradients."""

    def as_metadata(self) -> dict[str, str]:
        """The origin as strings, in the form in which artifacts store it."""
        return {
            "generator": self.generator,
            "corpus": self.corpus,
            "draws": json.dumps(asdict(self.draws)),
            "loss": LOSS,
        }

    def refuse_other(self, stored: dict[str, str], path: Path) -> None:
        """Refuse an artifact of another origin.

        Args:
            stored: Origin that is recorded in the artifact, as `as_metadata` returns it.
            path: The artifact, for the error message.

        Raises:
            FingerprintMismatch: The two origins differ in a key, which the error's field names.
        """
        for key, expected in self.as_metadata().items():
            if stored.get(key) != expected:
                more = _RENAMING if key == "generator" else ""
                raise FingerprintMismatch(
                    f"{path} was made with {key} {stored.get(key)!r}, not {expected!r};"
                    f" make it again with `creditline teacher prepare`{more}",
                    field=key,
                )


@dataclass(frozen=True)
class Statistics:
    """Statistics of the works under the generator's own weights θ₀."""

    losses: Tensor
    """Losses of the works: (N, draws) float32."""
    fisher: Fisher
    """Fisher information of the weights that unlearning changes."""

    def to(self, device: torch.device) -> Statistics:
        """A copy on the given device."""
        return Statistics(self.losses.to(device), self.fisher.to(device))


def read_statistics(directory: Path, origin: Origin) -> Statistics:
    """Read the statistics, on the CPU.

    Args:
        directory: Directory of the artifacts.
        origin: Origin that they must have.

    Raises:
        NotReady: The statistics were not computed yet.
        FingerprintMismatch: They have another origin, or were made by an earlier version.
        InvalidInput: The file is truncated.
    """
    path = directory / _STATISTICS
    arrays, metadata = read_artifact(
        path,
        what="file of the teacher's statistics",
        command="creditline teacher prepare",
        remedy="make them again with `creditline teacher prepare`",
        field="artifacts",
    )
    origin.refuse_other(metadata, path)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Statistics(tensors.pop("losses"), _fisher_from(tensors, path))


def copy_statistics(source: Path, directory: Path) -> None:
    """Copy the statistics, without the much larger gradients, to another directory, which is created.

    Args:
        source: Directory of the artifacts.
        directory: Directory to copy to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with replace_file(directory / _STATISTICS) as draft:
        shutil.copyfile(source / _STATISTICS, draft)


def _fisher_from(tensors: dict[str, Tensor], path: Path) -> Fisher:
    try:
        text, eigenvalues = tensors.pop(_TEXT_BASIS), tensors.pop(_EIGENVALUES)
    except KeyError as error:
        raise FingerprintMismatch(
            f"{path} has no tensor {error}, because an earlier version made it; make it again with"
            " `creditline teacher prepare`",
            field="fisher",
        ) from error
    return Fisher(tuple(tensors[name] for name in sorted(tensors)), text, eigenvalues)


def write_statistics(
    generator: Generator,
    directory: Path,
    origin: Origin,
    works: Examples,
    *,
    works_per_block: int = _WORKS_PER_BLOCK,
) -> Statistics:
    """Compute losses and Fisher from the stored gradients and write them, on the works' device.

    Args:
        generator: The generator.
        directory: Directory of the artifacts, which holds the gradients of all works.
        origin: Origin of the artifacts.
        works: The works, N of them.
        works_per_block: Number of works whose gradients are in memory at a time.

    Raises:
        NotReady: The gradients of some works are missing.
    """
    widths = output_widths(key_value_projections(generator.unet))
    fisher = ekfac_fisher(
        lambda: (
            (outputs, text) for _, outputs, text in _stored_factors(directory, origin, works, works_per_block)
        ),
        widths,
    )
    stored = np.array(read_rows(directory / _LOSSES, len(works)))
    losses = torch.from_numpy(stored).to(works.latents.device)
    statistics = Statistics(losses, fisher)
    tensors = {"losses": statistics.losses, _TEXT_BASIS: fisher.text, _EIGENVALUES: fisher.eigenvalues}
    tensors |= {f"{_OUTPUT_BASIS}.{number:03d}": basis for number, basis in enumerate(fisher.outputs)}
    write_tensors(directory / _STATISTICS, tensors, origin.as_metadata())
    return statistics


def store_gradients(
    generator: Generator,
    works: Examples,
    origin: Origin,
    directory: Path,
    report: Callable[[str], None],
    *,
    works_per_block: int = _WORKS_PER_BLOCK,
) -> None:
    """Compute and store the gradient factors and losses of all works, resuming after the last finished block.

    One process at a time computes in a directory; others wait.

    Args:
        generator: The generator.
        works: The works, N of them.
        origin: Origin of the artifacts.
        directory: Directory of the artifacts; it is created.
        report: Receives one line about progress every 20 seconds, and one when another process is waited for.
        works_per_block: Number of works computed between two checkpoints.

    Raises:
        FingerprintMismatch: The directory holds gradients of another origin.
        InvalidInput: A stored file is truncated, or a gradient is NaN or infinite.
    """
    directory.mkdir(parents=True, exist_ok=True)

    def computed(part: range) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        factors = gradient_factors(generator, works.rows(part), origin.draws)
        return factors.outputs.cpu().numpy(), factors.losses.cpu().numpy()

    stored_columns(
        _columns(directory),
        origin.as_metadata(),
        len(works),
        computed,
        block=works_per_block,
        report=report,
    )


def dense_gradients(
    directory: Path, origin: Origin, works: Examples, *, works_per_block: int = _WORKS_PER_BLOCK
) -> Iterator[tuple[slice, Tensor]]:
    """Gradients of all works, block by block, as dense matrices.

    Args:
        directory: Directory of the artifacts.
        origin: Origin of the artifacts.
        works: The works, N of them.
        works_per_block: Number of works in a block.

    Yields:
        The block's rows, and their gradients (B, D, E) float32 on the works' device.

    Raises:
        NotReady: The gradients of some works are missing.
        FingerprintMismatch: The directory holds gradients of another origin.
    """
    for rows, outputs, text in _stored_factors(directory, origin, works, works_per_block):
        yield rows, outputs.transpose(1, 2) @ text


def _stored_factors(
    directory: Path, origin: Origin, works: Examples, works_per_block: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Gradients of all works as stored: rows, gradients at the outputs (B, L, D), text (B, L, E)."""
    done = rows_done(_columns(directory), origin.as_metadata())
    if done != len(works):
        raise NotReady(
            f"{directory} holds gradients of {done} of {len(works)} works; compute the others with"
            " `creditline teacher prepare`",
            field="artifacts",
        )
    stored = read_rows(directory / _GRADIENTS, len(works))
    for start in range(0, len(works), works_per_block):
        rows = slice(start, min(start + works_per_block, len(works)))
        outputs = torch.from_numpy(np.array(stored[rows])).to(works.text.device)
        yield rows, outputs, works.text[rows]


def _columns(directory: Path) -> tuple[Path, Path]:
    """Gradients and losses, which are computed together."""
    return directory / _GRADIENTS, directory / _LOSSES
