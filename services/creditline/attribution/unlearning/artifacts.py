"""What is the same for every query, computed once per (generator, corpus): losses, Fisher, works' gradients.

Each artifact carries the fingerprints it was made from and is refused for any other generator or corpus.
`statistics.safetensors` (losses, Fisher) is what audits need and is small; `gradients.npy` is what labels
need, memory-mapped, and is made again where it is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from creditline.attribution.fisher.key_value import Fisher, ekfac_fisher
from creditline.attribution.gradients.key_value import gradient_factors, key_value_projections, output_widths
from creditline.build_lock import build_lock
from creditline.errors import FingerprintMismatch, NotReady
from creditline.files import replace_file
from creditline.generator.losses import LOSS, Draws, Examples
from creditline.generator.pipeline import Generator
from creditline.tensor_files import write_tensors

_STATISTICS = "statistics.safetensors"
_TEXT_BASIS, _EIGENVALUES, _OUTPUT_BASIS = "fisher.text", "fisher.eigenvalues", "fisher.outputs"
_GRADIENTS = "gradients.npy"
_LOSSES = "losses.npy"
_PROGRESS = "gradients.json"
_WORKS_PER_BLOCK = 48
_SAY_SECONDS = 20.0


@dataclass(frozen=True)
class Origin:
    """What an artifact was made from: fingerprints of generator and corpus, and the draws."""

    generator: str
    corpus: str
    draws: Draws

    def as_metadata(self) -> dict[str, str]:
        return {
            "generator": self.generator,
            "corpus": self.corpus,
            "draws": json.dumps(asdict(self.draws)),
            "loss": LOSS,
        }

    def refuse_other(self, found: dict[str, str], path: Path) -> None:
        """Raises FingerprintMismatch when `found` names another origin."""
        for key, wanted in self.as_metadata().items():
            if found.get(key) != wanted:
                raise FingerprintMismatch(
                    f"{path} was made with {key} {found.get(key)!r}, not {wanted!r};"
                    " make it again with `creditline teacher prepare`",
                    field=key,
                )


@dataclass(frozen=True)
class Statistics:
    """losses: (N, draws) float32 under θ₀; fisher: of the weights that unlearning moves."""

    losses: Tensor
    fisher: Fisher

    def to(self, device: torch.device) -> Statistics:
        """The same on another device."""
        return Statistics(self.losses.to(device), self.fisher.to(device))


def read_statistics(directory: Path, origin: Origin) -> Statistics:
    """Raises NotReady when it was never made, FingerprintMismatch when it is another generator's."""
    path = directory / _STATISTICS
    if not path.is_file():
        raise NotReady(
            f"no teacher statistics at {path}; make them with `creditline teacher prepare`", field="artifacts"
        )
    with safe_open(path, framework="pt") as opened:
        origin.refuse_other(opened.metadata() or {}, path)
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return Statistics(tensors.pop("losses"), _fisher_from(tensors, path))


def _fisher_from(tensors: dict[str, Tensor], path: Path) -> Fisher:
    try:
        text, eigenvalues = tensors.pop(_TEXT_BASIS), tensors.pop(_EIGENVALUES)
    except KeyError as error:
        raise FingerprintMismatch(
            f"{path} holds no {error}: an earlier version made it; make it again with"
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
    """Losses and Fisher from the stored gradients, on the works' device, a block of works at a time."""
    widths = output_widths(key_value_projections(generator.unet))
    fisher = ekfac_fisher(
        lambda: (
            (outputs, text) for _, outputs, text in _stored_factors(directory, origin, works, works_per_block)
        ),
        widths,
    )
    losses = torch.from_numpy(np.load(directory / _LOSSES)).to(works.latents.device)
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
    """Compute every work's gradient factors, resuming after the last finished block of `works_per_block`.

    One process at a time computes them in a directory; others wait for it, and `report` reports that.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if _rows_done(directory, origin) < len(works):
        with build_lock(directory / _GRADIENTS, on_wait=report):
            _store_missing(generator, works, origin, directory, report, works_per_block)


def _store_missing(
    generator: Generator,
    works: Examples,
    origin: Origin,
    directory: Path,
    report: Callable[[str], None],
    works_per_block: int,
) -> None:
    done = _rows_done(directory, origin)
    started, said, first = time.perf_counter(), 0.0, done
    stored: np.memmap[Any, Any] | None = None
    losses: np.memmap[Any, Any] | None = None
    while done < len(works):
        part = works.rows(range(done, min(done + works_per_block, len(works))))
        factors = gradient_factors(generator, part, origin.draws)
        if stored is None or losses is None:
            fresh = done == 0
            stored = _mapped(directory / _GRADIENTS, (len(works), *factors.outputs.shape[1:]), fresh=fresh)
            losses = _mapped(directory / _LOSSES, (len(works), len(origin.draws)), fresh=fresh)
        stored[done : done + len(part)] = factors.outputs.cpu().numpy()
        losses[done : done + len(part)] = factors.losses.cpu().numpy()
        done += len(part)
        stored.flush()
        losses.flush()
        _write_progress(directory, origin, done)
        elapsed = time.perf_counter() - started
        if elapsed - said > _SAY_SECONDS:
            said = elapsed
            left = elapsed / (done - first) * (len(works) - done)
            report(f"gradients: {done}/{len(works)} works, {left / 60:.1f} minutes left")


def dense_gradients(
    directory: Path, origin: Origin, works: Examples, *, works_per_block: int = _WORKS_PER_BLOCK
) -> Iterator[tuple[slice, Tensor]]:
    """All works' gradients, block by block, written out: (rows, (B, D, E) float32)."""
    for rows, outputs, text in _stored_factors(directory, origin, works, works_per_block):
        yield rows, outputs.transpose(1, 2) @ text


def _stored_factors(
    directory: Path, origin: Origin, works: Examples, works_per_block: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """All works' gradients as stored: (rows, (B, L, D) at the outputs, (B, L, E) text)."""
    done = _rows_done(directory, origin)
    if done != len(works):
        raise NotReady(
            f"{directory} holds gradients of {done} of {len(works)} works;"
            " go on with `creditline teacher prepare`",
            field="artifacts",
        )
    stored = np.load(directory / _GRADIENTS, mmap_mode="r")
    for start in range(0, len(works), works_per_block):
        rows = slice(start, min(start + works_per_block, len(works)))
        outputs = torch.from_numpy(np.array(stored[rows])).to(works.text.device)
        yield rows, outputs, works.text[rows]


def _mapped(path: Path, shape: tuple[int, ...], *, fresh: bool) -> np.memmap[Any, Any]:
    return np.lib.format.open_memmap(
        path, mode="w+" if fresh else "r+", dtype=np.float32, shape=shape if fresh else None
    )


def _rows_done(directory: Path, origin: Origin) -> int:
    path = directory / _PROGRESS
    if not path.is_file():
        return 0
    progress = json.loads(path.read_text())
    origin.refuse_other(progress["origin"], path)
    return int(progress["rows"])


def _write_progress(directory: Path, origin: Origin, rows: int) -> None:
    with replace_file(directory / _PROGRESS) as draft:
        draft.write_text(json.dumps({"origin": origin.as_metadata(), "rows": rows}))
